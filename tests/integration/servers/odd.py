"""Servers that report less than others, or in another way: SFTP with asyncssh, FTP with pyftpdlib."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.integration.servers import LOOPBACK, Login


@contextmanager
def odd_sftp_server(
    root: Path, *, listed: Callable[[Any], None] = lambda attributes: None, asked: Callable[[Any], None] | None = None
) -> Iterator[Login]:
    """Serve a folder over SFTP.

    :param listed: changes the attributes of an entry in a listing.
    :param asked: changes the attributes of a file that is asked for alone.
    """
    import asyncssh

    (root / "exports").mkdir(parents=True, exist_ok=True)
    username, password = "cordial", secrets.token_urlsafe(12)

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, user: str, given: str) -> bool:
            return (user, given) == (username, password)

    class Odd(asyncssh.SFTPServer):
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            async for name in super().scandir(path):
                listed(name.attrs)
                if name.attrs.permissions is None:
                    name.longname = name.filename  # as servers that list names only
                yield name

        def stat(self, path: bytes) -> Any:
            return self._asked(super().stat(path))

        def fstat(self, file_obj: object) -> Any:
            return self._asked(super().fstat(file_obj))

        def _asked(self, status: Any) -> Any:
            if asked is None:
                return status
            attributes = asyncssh.SFTPAttrs.from_local(status)
            asked(attributes)
            return attributes

    started = threading.Event()
    port = 0
    stop: Callable[[], object]

    async def serve() -> None:
        nonlocal port, stop
        stopped = asyncio.Event()
        stop = partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set)
        server = await asyncssh.listen(
            LOOPBACK,
            0,
            server_factory=Server,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=lambda channel: Odd(channel, chroot=str(root).encode()),
            config=None,
            allow_scp=False,
        )
        port = server.get_port()
        started.set()
        await stopped.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield Login(port, username, password, root)
    finally:
        stop()
        thread.join()


def without_commands(*commands: str) -> dict[str, Any]:
    """Return the members of a handler that lacks some commands of FTP."""
    from pyftpdlib.handlers import FTPHandler

    return {"proto_cmds": {name: value for name, value in FTPHandler.proto_cmds.items() if name not in commands}}


def with_facts(change: Callable[[bytes], bytes]) -> dict[str, Any]:
    """Return the members of a handler whose lines of MLSD are changed."""
    from pyftpdlib.filesystems import AbstractedFS

    class Changed(AbstractedFS):  # type: ignore[misc]
        def format_mlsx(self, *args: Any, **options: Any) -> Iterator[bytes]:
            for line in super().format_mlsx(*args, **options):
                yield change(line)

    return {"abstracted_fs": Changed}


def with_times(shift: Callable[[datetime], str]) -> dict[str, Any]:
    """Return the members of a handler without MLSD, whose times are written in another way."""

    def answer(handler: Any, path: str) -> None:
        modified = datetime.fromtimestamp(Path(path).stat().st_mtime, UTC)
        handler.respond(f"213 {shift(modified)}")

    return {**without_commands("MLSD"), "ftp_MDTM": answer}


def answering(answer: str, *commands: str) -> dict[str, Any]:
    """Return the members of a handler with one answer to some commands."""

    def respond(handler: Any, path: str) -> None:
        handler.respond(answer)

    return {f"ftp_{command}": respond for command in commands}


def recording(commands: list[str]) -> dict[str, Any]:
    """Return the members of a handler that records the commands it receives."""
    from pyftpdlib.handlers import FTPHandler

    def record(handler: Any, line: str, command: str, argument: str) -> None:
        commands.append(command)
        FTPHandler.pre_process_command(handler, line, command, argument)

    return {"pre_process_command": record}
