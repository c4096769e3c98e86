"""An SFTP server in the sandbox's own process, with one user who is confined to one folder.

The user authenticates with a password or with a key of the Secrets Vault.
"""

from __future__ import annotations

import hmac
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from cordial_sandbox.vault import Vault, create_private_key

USERNAME = "cordial"

FOLDER = "exports"


@dataclass(frozen=True, slots=True)
class SftpFolder:
    """The folder that the server exposes; it always contains the subfolder ``exports``."""

    root: Path

    def create(self) -> None:
        (self.root / FOLDER).mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Delete every delivered file."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.create()


@asynccontextmanager
async def sftp_server(
    folder: SftpFolder, password: str, vault: Vault, host_key: Path, listener: socket.socket
) -> AsyncIterator[None]:
    """Serve a folder over SFTP.

    :param host_key: file of the host key, created at the first start.
    :param listener: bound socket.
    """
    folder.create()
    create_private_key(host_key)

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return username == USERNAME and hmac.compare_digest(given.encode(), password.encode())

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return username == USERNAME and vault.contains(key)

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
