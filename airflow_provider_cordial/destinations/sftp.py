"""SftpDestination: an SFTP server."""

from __future__ import annotations

import re
import stat as stat_module
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_cordial.client.airflow_connections import read_airflow_connection
from airflow_provider_cordial.destinations.base import (
    Address,
    DeliveredFile,
    Destination,
    GuardedStream,
    build_login,
    build_server_uri,
    normalize_folder,
)
from airflow_provider_cordial.exceptions import (
    DestinationAccessError,
    DestinationUnreachableError,
    FileChangedError,
    InvalidConnectionError,
)

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient, SSHClient

DEFAULT_PORT = 22

#: Requests in flight (32 KiB each) while a file is read, so that memory does not grow with the file.
_REQUESTS_IN_FLIGHT = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class SftpDestination(Destination):
    """An SFTP server, written to by Cordial and read through Airflow's SSHHook.

    :param conn_id: an Airflow connection of type ``sftp``. Cordial receives its host, port (22 by default), login, and
        password at the moment of the submission, never before.
    :param path: the folder (templated).
    :param saved_key: the name of a key pair in Cordial's Secrets Vault, which Cordial uses instead of a password.

    Source: Cordial, "Audience Trends export API", "SFTP public key authentication".
    """

    type = "sftp"
    conn_type = "sftp"

    conn_id: str
    path: str
    saved_key: str | None = None

    def address(self) -> Address:
        connection = read_airflow_connection(self.conn_id, conn_type=self.conn_type)
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
        # SFTPHook reads the same connection with this code, and imports a second SSH client: 0.2 s of each load.
        from airflow.providers.ssh.hooks.ssh import SSHHook

        hook = SSHHook(ssh_conn_id=self.conn_id)
        # The hook would retry even a rejected login; a task has its own retries.
        hook.conn_retry_attempts = 1
        # By default a server that stalls before the login is awaited without a limit.
        seconds = max(1, round(timeout))
        hook.conn_timeout, hook.auth_timeout = hook.conn_timeout or seconds, hook.auth_timeout or seconds
        hook.banner_timeout = min(hook.banner_timeout, seconds)
        guard = partial(_guard, f"Airflow connection {self.conn_id!r} ({hook.remote_host})")
        stack = ExitStack()
        try:
            with guard():
                connection = stack.enter_context(closing(hook.get_conn()))
                client = _open_sftp(connection, timeout)
            yield SftpReader(client, normalize_folder(self.path), guard)
        finally:
            _close(stack.close)


class SftpReader:
    """The destination's folder over one SFTP connection.

    :param guard: translates the errors of the client.
    """

    def __init__(self, client: SFTPClient, path: str, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._client = client
        self._path = path
        self._guard = guard

    def files(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:
        with self._guard():
            try:
                entries = self._list()
            except FileNotFoundError:  # the folder may not exist before the first delivery
                return []
        files = []
        for entry in entries:
            path = f"{self._path.rstrip('/')}/{entry.filename}"
            file = _delivered_file(path, entry)
            is_known = file is not None and file.size is not None and file.modified is not None
            if not is_known and _may_be_a_file(entry) and matches(entry.filename):
                # A link, or an entry that lacks something: asking for it alone follows links, and may return more.
                file = self.stat(path)
            if file is not None:
                files.append(file)
        return files

    def _list(self) -> list[SFTPAttributes]:
        try:
            return self._client.listdir_attr(self._path)
        except UnicodeDecodeError:
            return _list_utf8_names(self._client, self._path)

    def stat(self, path: str) -> DeliveredFile | None:
        with self._guard():
            try:
                entry = self._client.stat(path)
            except FileNotFoundError:
                return None
        is_typed = stat_module.S_IFMT(entry.st_mode or 0) != 0
        return _delivered_file(path, entry) if is_typed else DeliveredFile(path, entry.st_size, _parse_time(entry))

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        with self._guard():
            try:
                file = self._client.open(path, "rb")
                size = file.stat().st_size
            except FileNotFoundError as error:
                raise FileChangedError(f"File {path!r} disappeared: {error}. Retry the task.") from error
            if size is not None:
                file.prefetch(size, max_concurrent_requests=_REQUESTS_IN_FLIGHT)
        try:
            yield cast("BinaryIO", GuardedStream(file, self._guard))
        finally:
            _close(file.close)


def _open_sftp(connection: SSHClient, timeout: float) -> SFTPClient:
    """Open SFTP with a timeout, for which the client has no parameter."""
    watchdog = threading.Timer(timeout, connection.close)
    watchdog.start()
    try:
        client = connection.open_sftp()
    finally:
        watchdog.cancel()
    # Without a timeout a stalled transfer would hang forever.
    channel = client.get_channel()
    if channel is not None:
        channel.settimeout(timeout)
    return client


@contextmanager
def _guard(server: str) -> Iterator[None]:
    """Translate the errors of the client, and only these: put around its calls, never around a ``yield``."""
    from paramiko import AuthenticationException, BadHostKeyException, SSHException

    try:
        yield
    except (OSError, EOFError, SSHException, UnicodeDecodeError) as error:
        # A file that does not exist is the key of the connection: those of the server are handled by the caller.
        is_final = isinstance(error, (AuthenticationException, BadHostKeyException, PermissionError, FileNotFoundError))
        is_final = is_final or "known_hosts" in str(error)
        # The client reports a connection that broke during the login as a failed login.
        if not is_final or re.search("timeout|EOF", str(error)):
            msg = (
                f"Cannot read the SFTP server of {server}: {type(error).__name__}: {error}. Check its host, port, host "
                "key, and the network."
            )
            raise DestinationUnreachableError(msg) from error
        msg = (
            f"The SFTP server of {server} denies access: {type(error).__name__}: {error}. Check the login, the "
            "password or key, the host key, and the permissions of the folder and its files."
        )
        raise DestinationAccessError(msg) from error


def _close(close: Callable[[], object]) -> None:
    """Close something of the client; an error of a broken connection would hide the one that broke it."""
    from paramiko import SSHException

    with suppress(OSError, EOFError, SSHException):
        close()


def _list_utf8_names(client: Any, path: str) -> list[SFTPAttributes]:
    """List a folder without the names that are not UTF-8, at which the client's own method fails."""
    from paramiko import SFTPAttributes
    from paramiko.sftp import CMD_CLOSE, CMD_OPENDIR, CMD_READDIR

    attributes: Any = SFTPAttributes
    _, answer = client._request(CMD_OPENDIR, client._adjust_cwd(path))
    handle = answer.get_binary()
    entries = []
    try:
        while True:
            _, answer = client._request(CMD_READDIR, handle)
            for _ in range(answer.get_int()):
                name, longname = answer.get_binary(), answer.get_binary()
                # The attributes must be taken from the answer in any case.
                entry = attributes._from_msg(answer, None, longname.decode(errors="replace"))
                with suppress(UnicodeDecodeError):
                    entry.filename = name.decode()
                    entries.append(entry)
    except EOFError:
        client._request(CMD_CLOSE, handle)
    return [entry for entry in entries if entry.filename not in (".", "..")]


def _may_be_a_file(entry: SFTPAttributes) -> bool:
    kind = stat_module.S_IFMT(entry.st_mode or 0)
    return kind in (0, stat_module.S_IFREG, stat_module.S_IFLNK) and not getattr(entry, "longname", "").startswith("d")


def _delivered_file(path: str, entry: SFTPAttributes) -> DeliveredFile | None:
    """Return a regular file; None if the entry is not one, or does not have a type."""
    if not stat_module.S_ISREG(entry.st_mode or 0):
        return None
    return DeliveredFile(path, entry.st_size, _parse_time(entry))


def _parse_time(entry: SFTPAttributes) -> datetime | None:
    # Zero is what servers report that do not know the time.
    return datetime.fromtimestamp(entry.st_mtime, UTC) if entry.st_mtime else None
