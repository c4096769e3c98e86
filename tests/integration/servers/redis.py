"""A Redis server for the tests, on a free loopback port."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.servers import LOOPBACK, free_port, running


@dataclass(frozen=True, slots=True)
class Redis:
    host: str
    port: int
    password: str

    def url(self) -> str:
        return f"redis://:{self.password}@{self.host}:{self.port}/0"


def is_installed() -> bool:
    return shutil.which("redis-server") is not None


@contextmanager
def redis_server() -> Iterator[Redis]:
    """Serve Redis with a password, without persistence."""
    with tempfile.TemporaryDirectory(prefix="cordial-redis-") as name:
        server = Redis(LOOPBACK, free_port(), secrets.token_urlsafe(12))
        # In a file, because everybody can read a password on the command line.
        config = Path(name) / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"""\
bind {server.host}
port {server.port}
requirepass {server.password}
dir {name}
save ""
appendonly no
"""
        )
        with running(["redis-server", str(config)], server.port):
            yield server
