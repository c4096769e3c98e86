"""A slow network in front of a server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.integration.servers import LOOPBACK

_BLOCK = 4096


@contextmanager
def slow_proxy(target: int, *, bytes_per_second: int) -> Iterator[int]:
    """Proxy a server whose answers arrive at that rate on each connection."""
    listener = socket.create_server((LOOPBACK, 0))
    sockets: list[socket.socket] = [listener]

    def pump(source: socket.socket, sink: socket.socket, pause: float) -> None:
        with suppress(OSError):
            while data := source.recv(_BLOCK):
                sink.sendall(data)
                time.sleep(pause * len(data))
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((LOOPBACK, target))
                sockets.extend((near, far))
                threading.Thread(target=pump, args=(near, far, 0.0), daemon=True).start()
                threading.Thread(target=pump, args=(far, near, 1 / bytes_per_second), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for one in sockets:
            with suppress(OSError):
                one.close()
