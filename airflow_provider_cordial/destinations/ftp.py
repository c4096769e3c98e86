"""FtpDestination: an FTP server."""

from __future__ import annotations

import ftplib
import io
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, cast

from airflow_provider_cordial.client.airflow_connections import read_airflow_connection
from airflow_provider_cordial.destinations.base import (
    Address,
    DeliveredFile,
    Destination,
    GuardedStream,
    build_login,
    build_server_uri,
    normalize_folder,
    require_field,
    requires_extra,
)
from airflow_provider_cordial.exceptions import (
    DestinationAccessError,
    DestinationUnreachableError,
    FileChangedError,
    FolderNotListedError,
)

DEFAULT_PORT = 21

_CHUNK = 1 << 16

_FOLDERS = ("dir", "cdir", "pdir")

_DENIED = re.compile(
    r"denied|permission|privilege|forbidden|not (?:allowed|permitted|authorized|logged in)", re.IGNORECASE
)


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
    conn_type = "ftp"

    conn_id: str
    path: str
    tls: bool = False

    def address(self) -> Address:
        connection = read_airflow_connection(self.conn_id, conn_type=self.conn_type)
        body = build_login(self.type, connection, self.path, DEFAULT_PORT)
        password = require_field(connection, "password", "the password of the user that Cordial writes as")
        body["password"] = password
        return Address(body=body, uri=build_server_uri(body), secrets=(password,))

    @property
    def asset_uri(self) -> str:
        return f"x-airflow-ftp://{self.conn_id}/{self.path}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[FtpReader]:
        with requires_extra("ftp"):
            from airflow.providers.ftp.hooks.ftp import FTPHook, FTPSHook

        hook = (FTPSHook if self.tls else FTPHook)(ftp_conn_id=self.conn_id)
        guard = partial(_guard, f"Airflow connection {self.conn_id!r}")
        with guard():
            client = _connect(hook, timeout)
        try:
            yield FtpReader(client, normalize_folder(self.path), guard)
        finally:
            client.close()


class FtpReader:
    """The destination's folder over one FTP connection.

    :param guard: translates the errors of the client.
    """

    def __init__(self, client: ftplib.FTP, path: str, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._client = client
        self._path = path
        self._guard = guard

    def files(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:
        with self._guard():
            try:
                lines, _ = self._lines(f"MLSD {self._path}")
            except ftplib.error_temp as error:
                if not _is_empty_folder(error):
                    raise
                return []
            except ftplib.error_perm:
                return self._files_by_name(matches)
            entries = [_parse_entry(line) for line in lines]
            return [
                file
                for name, facts in entries
                if facts.get("type", "file") not in _FOLDERS and (file := self._complete(name, facts, matches))
            ]

    def _files_by_name(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:
        """List the folder of a server without MLSD, vsftpd for instance."""
        try:
            names, _ = self._lines(f"NLST {self._path}")
        except (ftplib.error_temp, ftplib.error_perm) as error:
            if _is_empty_folder(error):
                return []
            if not str(error).startswith("550") or _is_denied(error):
                raise
            # vsftpd and others use the same words for a missing folder as for a forbidden one.
            raise self._not_listed(error) from error
        names = [name.rpartition("/")[2] for name in names]
        if not any(map(matches, names)):
            self._check_folder()
        return [file for name in names if (file := self._complete(name, {}, matches))]

    def _check_folder(self) -> None:
        """Enter the folder and leave it again: vsftpd lists a missing or forbidden folder without an error."""
        try:
            home = self._client.pwd()
            self._client.cwd(self._path)
            self._client.cwd(home)
        except ftplib.error_perm as error:
            if _is_denied(error):
                raise
            if str(error).startswith("550"):
                raise self._not_listed(error) from error
            # The server lacks one of the commands.

    def _not_listed(self, error: ftplib.Error) -> FolderNotListedError:
        msg = (
            f"The FTP server does not list folder {self._path!r}: {error} Check the destination's path, and the "
            "user's permission for it."
        )
        return FolderNotListedError(msg, folder=self._path.rstrip("/"))

    def _complete(self, name: str, facts: Mapping[str, str], matches: Callable[[str], bool]) -> DeliveredFile | None:
        """Return a file of a listing; what the listing lacks is asked for if the name matches."""
        path = f"{self._path.rstrip('/')}/{name}"
        size = int(facts["size"]) if facts.get("size", "").isdigit() else None
        file = DeliveredFile(path, size, _parse_time(facts.get("modify", "")))
        is_known = size is not None and file.modified is not None and facts.get("type") == "file"
        if is_known or name in ("", ".", "..") or not matches(name):
            return file if name not in ("", ".", "..") else None
        asked = self._stat(path, is_listed=facts.get("type") == "file")
        return asked and DeliveredFile(path, asked.size if size is None else size, file.modified or asked.modified)

    def stat(self, path: str) -> DeliveredFile | None:
        with self._guard():
            return self._stat(path, is_listed=False)

    def _stat(self, path: str, *, is_listed: bool) -> DeliveredFile | None:
        """Ask for the size and the time of a file.

        :param is_listed: whether the server has listed it as a file.
        """
        # Some servers reject SIZE in text mode, and on others its result is meaningless.
        self._client.voidcmd("TYPE I")
        size, exists = self._ask(f"SIZE {path}")
        if exists is False and not is_listed:  # no such file, or a folder
            return None
        modified, is_known = self._ask(f"MDTM {path}")
        if exists is None and not is_known and not is_listed and not self._is_listed(path):
            return None
        return DeliveredFile(path, int(size) if size.isdigit() else None, _parse_time(modified))

    def _ask(self, command: str) -> tuple[str, bool | None]:
        """Return the answer, and whether the file exists; None if the server does not have the command."""
        try:
            return self._client.sendcmd(command).partition(" ")[2].strip(), True
        except ftplib.error_perm as error:
            if _is_denied(error):
                raise
            return "", False if str(error).startswith("55") else None

    def _is_listed(self, path: str) -> bool:
        """Return whether a folder contains a file, on a server with neither SIZE nor MDTM."""
        folder, _, name = path.rpartition("/")
        try:
            names, _ = self._lines(f"NLST {folder}")
        except (ftplib.error_temp, ftplib.error_perm) as error:
            if _is_denied(error):
                raise
            return False
        return name in [line.rpartition("/")[2] for line in names]

    def _lines(self, command: str) -> tuple[list[str], str]:
        """Return the lines of a listing, and the server's last answer.

        A name in another encoding cannot be sent back to the server: its line is left out.
        """
        self._client.voidcmd("TYPE A")
        with self._client.transfercmd(command) as data, data.makefile("rb") as file:
            content = file.read()
            _end_tls(data)
        lines = []
        for line in content.splitlines():
            with suppress(UnicodeDecodeError):
                lines.append(line.decode(self._client.encoding))
        return lines, self._client.voidresp()

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        with ExitStack() as stack:
            with self._guard():
                # A listing leaves the connection in text mode, in which the server converts line ends.
                self._client.voidcmd("TYPE I")
                try:
                    data = self._client.transfercmd(f"RETR {path}")
                except ftplib.error_perm as error:
                    if not str(error).startswith("550") or _is_denied(error):
                        raise
                    raise FileChangedError(f"File {path!r} cannot be opened: {error}. Retry the task.") from error
                stack.callback(data.close)
                file = cast("io.BufferedReader", stack.enter_context(data.makefile("rb", buffering=_CHUNK)))
            yield cast("BinaryIO", GuardedStream(_Transfer(self._client, data, file), self._guard))


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
            _end_tls(self._data)
            self._client.voidresp()
        return data


def _end_tls(data: socket.socket) -> None:
    if isinstance(data, ssl.SSLSocket):
        # Otherwise vsftpd waits for the end of TLS and confirms nothing. Whether the transfer is complete is what the
        # server's last answer says, however it ends TLS itself.
        with suppress(OSError):
            data.unwrap()


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
    if isinstance(client, ftplib.FTP_TLS) and isinstance(client.sock, ssl.SSLSocket):
        # By default vsftpd and others accept only transfers in the TLS session of the login.
        context = client.context
        context.wrap_socket = partial(context.wrap_socket, session=client.sock.session)  # type: ignore[method-assign]
    return client


@contextmanager
def _guard(server: str) -> Iterator[None]:
    """Translate the errors of the client, and only these: put around its calls, never around a ``yield``."""
    try:
        yield
    except (ssl.SSLCertVerificationError, ftplib.error_perm) as error:
        msg = (
            f"The FTP server of {server} denies access: {type(error).__name__}: {error}. Check the login, the "
            "password, the certificate, the destination's tls, and the permissions of the folder and its files."
        )
        raise DestinationAccessError(msg) from error
    except (OSError, EOFError, ftplib.Error, UnicodeDecodeError) as error:
        msg = (
            f"Cannot read the FTP server of {server}: {type(error).__name__}: {error}. Check its host, port, passive "
            "mode, and the network."
        )
        raise DestinationUnreachableError(msg) from error


def _is_denied(error: ftplib.Error) -> bool:
    """Return whether the words of an answer mean that waiting does not help; 550 alone means many things."""
    return str(error)[:3] in ("530", "553") or _DENIED.search(str(error)) is not None


def _is_empty_folder(error: ftplib.Error) -> bool:
    return str(error).startswith("450") or "no files" in str(error).lower()


def _parse_entry(line: str) -> tuple[str, dict[str, str]]:
    """Return the name and the facts of a line of MLSD, their names and the type in lower case."""
    text, _, name = line.partition(" ")
    facts = {key.lower(): value for key, _, value in (fact.partition("=") for fact in text.split(";")) if key}
    return name.rpartition("/")[2], {**facts, "type": facts["type"].lower()} if "type" in facts else facts


def _parse_time(text: str) -> datetime | None:
    """Parse the time of MLSD and MDTM, which should be UTC and may have a fraction of a second; None if it is not one.

    A server that does not know the time may report the beginning of 1970.
    """
    try:
        time = datetime.strptime(text.strip()[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return time if time.timestamp() > 0 else None
