"""An SFTP server in the sandbox's own process: one user, one password, and one folder that it cannot leave."""

from __future__ import annotations

import hmac
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

USERNAME = "cordial"

FOLDER = "exports"


@dataclass(frozen=True, slots=True)
class SftpFolder:
    """What the server shows: its root holds one folder, ``exports``, from the start."""

    root: Path

    def make(self) -> None:
        (self.root / FOLDER).mkdir(parents=True, exist_ok=True)

    def empty(self) -> None:
        """Take away all that was delivered."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.make()


@asynccontextmanager
async def sftp_server(
    folder: SftpFolder, password: str, host_key: Path, listener: socket.socket
) -> AsyncIterator[None]:
    """Serve a folder over SFTP.

    :param host_key: where the host key is kept; made at the first start.
    :param listener: already bound.
    """
    folder.make()
    _make_once(host_key)

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return username == USERNAME and hmac.compare_digest(given.encode(), password.encode())

    server = await asyncssh.listen(
        sock=listener,
        server_factory=Server,
        server_host_keys=[str(host_key)],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder.root).encode()),
        config=None,
        allow_scp=False,
    )
    try:
        yield
    finally:
        server.close()


def _make_once(host_key: Path) -> None:
    if host_key.exists():
        return
    unfinished = host_key.with_suffix(".part")
    unfinished.touch(mode=0o600)
    unfinished.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    unfinished.replace(host_key)
