"""SftpDestination: an SFTP server."""

from __future__ import annotations

import stat as stat_module
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, cast

from airflow_provider_cordial.destinations.base import (
    Address,
    DeliveredFile,
    Destination,
    build_login,
    build_server_uri,
    normalize_folder,
    read_connection,
)
from airflow_provider_cordial.exceptions import DestinationUnreachableError, InvalidConnectionError

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient

DEFAULT_PORT = 22

#: Requests in flight (32 KiB each) while a file is read, so that memory does not grow with the file.
_REQUESTS_IN_FLIGHT = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class SftpDestination(Destination):
    """An SFTP server, written to by Cordial and read by Airflow's SFTPHook.

    :param conn_id: an Airflow connection of type ``sftp``. Cordial receives its host, port (22 by default), login, and
        password at the moment of the submission, never before.
    :param path: the folder (templated).
    :param saved_key: the name of a key pair in Cordial's Secrets Vault, which Cordial uses instead of a password.

    Source: Cordial, "Audience Trends export API", "SFTP public key authentication".
    """

    type = "sftp"

    conn_id: str
    path: str
    saved_key: str | None = None

    def address(self) -> Address:
        connection = read_connection(self.conn_id)
        body = build_login(self.type, connection, self.path, DEFAULT_PORT)
        secrets: tuple[str, ...] = ()
        if self.saved_key:
            body["savedKey"] = self.saved_key
        elif connection.password:
            body["password"] = connection.password
            secrets = (connection.password,)
        else:
            msg = (
                f"Airflow connection {self.conn_id!r} has no password, and Cordial cannot use a private key of "
                "Airflow. Set the password, or saved_key: the name of a key pair in Cordial's Secrets Vault."
            )
            raise InvalidConnectionError(msg)
        return Address(body=body, uri=build_server_uri(body), secrets=secrets)

    @property
    def asset_uri(self) -> str:
        return f"x-airflow-sftp://{self.conn_id}/{self.path}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[SftpReader]:
        from airflow.providers.sftp.hooks.sftp import SFTPHook
        from paramiko import SSHException

        hook = SFTPHook(ssh_conn_id=self.conn_id)
        # The hook would retry even a rejected login; a task has its own retries.
        hook.conn_retry_attempts = 1
        try:
            with hook.get_managed_conn() as client:
                # Without a timeout a stalled transfer would hang forever.
                channel = client.get_channel()
                if channel is not None:
                    channel.settimeout(timeout)
                yield SftpReader(client, normalize_folder(self.path))
        except (OSError, EOFError, SSHException) as error:
            msg = (
                f"Cannot read the SFTP server of Airflow connection {self.conn_id!r} ({hook.remote_host}): "
                f"{type(error).__name__}: {error}. Check its host, port, login, password, host key, and the network."
            )
            raise DestinationUnreachableError(msg) from error


class SftpReader:
    """The destination's folder over one SFTP connection."""

    def __init__(self, client: SFTPClient, path: str) -> None:
        self._client = client
        self._path = path

    def files(self) -> list[DeliveredFile]:
        try:
            entries = self._client.listdir_attr(self._path)
        except FileNotFoundError:  # the folder may not exist before the first delivery
            return []
        return [
            _delivered_file(f"{self._path.rstrip('/')}/{entry.filename}", entry)
            for entry in entries
            if stat_module.S_ISREG(entry.st_mode or 0)
        ]

    def stat(self, path: str) -> DeliveredFile | None:
        try:
            return _delivered_file(path, self._client.stat(path))
        except FileNotFoundError:
            return None

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        with self._client.open(path, "rb") as file:
            file.prefetch(max_concurrent_requests=_REQUESTS_IN_FLIGHT)
            yield cast("BinaryIO", file)


def _delivered_file(path: str, entry: SFTPAttributes) -> DeliveredFile:
    return DeliveredFile(path, entry.st_size or 0, datetime.fromtimestamp(entry.st_mtime or 0, UTC))
