"""Faults between a client and a server: a stalled, broken, or slow connection, a full disk."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from tests.integration.servers import LOOPBACK

_BLOCK = 4096


@contextmanager
def faulty_proxy(
    target: int, *, after: int, then: Literal["stall", "reset"], times: int | None = None
) -> Iterator[int]:
    """Proxy a server for so many bytes of its answers, and then stall or reset the connection.

    :param times: how many connections have the fault, by default all.
    """

    def pump(source: socket.socket, sink: socket.socket, number: int) -> None:
        limit = after if times is None or number <= times else None
        passed = 0
        while data := source.recv(_BLOCK):
            passed += len(data)
            if limit is not None and passed > limit:
                if then == "reset":
                    for end in (sink, source):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        # Otherwise it stays open while the other thread waits for its data.
                        end.shutdown(socket.SHUT_RD)
                        end.close()
                return
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    with _proxy(target, pump) as port:
        yield port


@contextmanager
def slow_proxy(target: int, *, bytes_per_second: int) -> Iterator[int]:
    """Proxy a server whose answers arrive at that rate on each connection."""

    def pump(source: socket.socket, sink: socket.socket, _number: int) -> None:
        while data := source.recv(_BLOCK):
            sink.sendall(data)
            time.sleep(len(data) / bytes_per_second)
        sink.shutdown(socket.SHUT_WR)

    with _proxy(target, pump) as port:
        yield port


@contextmanager
def _proxy(target: int, pump: Callable[[socket.socket, socket.socket, int], None]) -> Iterator[int]:
    """Proxy a server.

    :param pump: passes its answers on, on the connection of that number, from 1.
    """
    listener = socket.create_server((LOOPBACK, 0))
    sockets: list[socket.socket] = [listener]

    def forward(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_BLOCK):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def answer(source: socket.socket, sink: socket.socket, number: int) -> None:
        with suppress(OSError):
            pump(source, sink, number)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((LOOPBACK, target))
                sockets.extend((near, far))
                threading.Thread(target=forward, args=(near, far), daemon=True).start()
                threading.Thread(target=answer, args=(far, near, len(sockets) // 2), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for one in sockets:
            with suppress(OSError):
                one.close()


@contextmanager
def small_disk(folder: Path, *, kibibytes: int, owner: str) -> Iterator[None]:
    """Mount a disk of that size on a folder; requires root."""
    options = f"size={kibibytes}k,uid={owner},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def certificate(path: Path) -> Path:
    """Create a self-signed certificate of this machine with its key, in one file."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(LOOPBACK))])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path
