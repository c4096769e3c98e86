"""FtpDestination: an FTP server."""

from __future__ import annotations

import ftplib
import io
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, cast

from airflow_provider_cordial.destinations.base import (
    Address,
    DeliveredFile,
    Destination,
    build_login,
    build_server_uri,
    normalize_folder,
    read_connection,
    require_field,
)
from airflow_provider_cordial.exceptions import DestinationUnreachableError

DEFAULT_PORT = 21

_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class FtpDestination(Destination):
    """An FTP server, written to by Cordial and read by Airflow's FTPHook.

    :param conn_id: an Airflow connection of type ``ftp``. Cordial receives its host, port (21 by default), login, and
        password at the moment of the submission, never before.
    :param path: the folder (templated).
    :param tls: read over explicit TLS, with FTPSHook. Whether Cordial itself connects over TLS is not documented.

    Source: Cordial, "Audience Trends export API".
    """

    type = "ftp"

    conn_id: str
    path: str
    tls: bool = False

    def address(self) -> Address:
        connection = read_connection(self.conn_id)
        body = build_login(self.type, connection, self.path, DEFAULT_PORT)
        password = require_field(connection, "password", "the password of the user that Cordial writes as")
        body["password"] = password
        return Address(body=body, uri=build_server_uri(body), secrets=(password,))

    @property
    def asset_uri(self) -> str:
        return f"x-airflow-ftp://{self.conn_id}/{self.path}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[FtpReader]:
        from airflow.providers.ftp.hooks.ftp import FTPHook, FTPSHook

        hook = (FTPSHook if self.tls else FTPHook)(ftp_conn_id=self.conn_id)
        try:
            client = _connect(hook, timeout)
            try:
                yield FtpReader(client, normalize_folder(self.path))
            finally:
                client.close()
        except (OSError, EOFError, ftplib.Error) as error:
            msg = (
                f"Cannot read the FTP server of Airflow connection {self.conn_id!r}: {type(error).__name__}: "
                f"{error}. Check its host, port, login, password, passive mode, and the network."
            )
            raise DestinationUnreachableError(msg) from error


class FtpReader:
    """The destination's folder over one FTP connection."""

    def __init__(self, client: ftplib.FTP, path: str) -> None:
        self._client = client
        self._path = path

    def files(self) -> list[DeliveredFile]:
        try:
            entries = list(self._client.mlsd(self._path, facts=["type", "size", "modify"]))
        except ftplib.error_perm as error:
            if str(error).startswith("550"):  # the folder may not exist before the first delivery
                return []
            return self._files_by_name()
        return [
            DeliveredFile(f"{self._path.rstrip('/')}/{name}", int(facts["size"]), _parse_time(facts["modify"]))
            for name, facts in entries
            if facts.get("type") == "file"
        ]

    def _files_by_name(self) -> list[DeliveredFile]:
        """List the folder of a server without MLSD, vsftpd for instance."""
        try:
            names = self._client.nlst(self._path)
        except ftplib.error_perm:
            return []
        paths = [f"{self._path.rstrip('/')}/{name.rpartition('/')[2]}" for name in names]
        return [file for path in paths if (file := self.stat(path))]

    def stat(self, path: str) -> DeliveredFile | None:
        try:
            # Some servers reject SIZE in text mode, and on others its result is meaningless.
            self._client.voidcmd("TYPE I")
            size = self._client.size(path)
            modified = self._client.sendcmd(f"MDTM {path}").partition(" ")[2]
        except ftplib.error_perm:  # no such file, or a folder
            return None
        return DeliveredFile(path, size or 0, _parse_time(modified))

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        # A listing leaves the connection in text mode, in which the server converts line ends.
        self._client.voidcmd("TYPE I")
        with self._client.transfercmd(f"RETR {path}") as data, data.makefile("rb", buffering=_CHUNK) as file:
            yield cast("BinaryIO", _Transfer(self._client, data, cast("io.BufferedReader", file)))


class _Transfer:
    """A download that ends only when the server confirms it: a broken connection also reads as the end of the file."""

    def __init__(self, client: ftplib.FTP, data: socket.socket, file: io.BufferedReader) -> None:
        self._client = client
        self._data = data
        self._file = file
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if not data and size != 0 and not self._ended:
            self._ended = True
            if isinstance(self._data, ssl.SSLSocket):
                # Otherwise vsftpd waits for the end of TLS and confirms nothing.
                self._data.unwrap()
            self._client.voidresp()
        return data


def _connect(hook: object, timeout: float) -> ftplib.FTP:
    """Return a connection with a timeout, for which the hook has no parameter."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        client = cast("ftplib.FTP", hook.get_conn())  # type: ignore[attr-defined]
    finally:
        socket.setdefaulttimeout(before)
    # The client applies it to the connections of transfers.
    client.timeout = timeout
    return client


def _parse_time(text: str) -> datetime:
    """Parse the time of MLSD and MDTM, which is UTC and may have a fraction of a second."""
    return datetime.strptime(text.strip().partition(".")[0], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
