"""An SFTP server in the sandbox's own process: one user, one password, and one folder that it cannot leave."""

from __future__ import annotations

import hmac
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

USERNAME = "cordial"

#: The folder that is there from the start.
FOLDER = "exports"


@asynccontextmanager
async def sftp_server(root: Path, password: str, host_key: Path, listener: socket.socket) -> AsyncIterator[None]:
    """Serve a folder over SFTP.

    :param host_key: where the host key is kept; made at the first start.
    :param listener: already bound.
    """
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    if not host_key.exists():
        unfinished = host_key.with_suffix(".part")
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        unfinished.replace(host_key)

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return username == USERNAME and hmac.compare_digest(given.encode(), password.encode())

    server = await asyncssh.listen(
        sock=listener,
        server_factory=Server,
        server_host_keys=[str(host_key)],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        config=None,
        allow_scp=False,
    )
    try:
        yield
    finally:
        server.close()
