"""Real servers on free loopback ports.

``embedded`` has the servers that come with a package of the development environment, ``strict`` those that must be
installed: the same tests run against both.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"

START_TIMEOUT = 60.0

BUCKET = "acme-cordial"


@dataclass(frozen=True, slots=True)
class Login:
    """A server with a login.

    :param root: the root folder of the user, who owns ``exports`` in it.
    """

    port: int
    username: str
    password: str
    root: Path

    def connection(self, conn_type: str, **extra: Any) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        login = {"host": LOOPBACK, "port": self.port, "login": self.username, "password": self.password}
        return {"conn_type": conn_type, **login, "extra": extra}

    def put(self, name: str, content: bytes) -> None:
        (self.root / "exports" / name).write_bytes(content)


@dataclass(frozen=True, slots=True)
class Bucket:
    """An S3 server with a bucket, and a user with all permissions.

    :param getter: the keys of a user who may read objects whose names are known.
    """

    url: str
    name: str
    region: str
    access_key: str
    secret_key: str
    getter: tuple[str, str]

    def connection(self, url: str | None = None) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        extra = {"region_name": self.region, "endpoint_url": url or self.url}
        return {"conn_type": "aws", "login": self.access_key, "password": self.secret_key, "extra": extra}

    def put(self, key: str, content: bytes) -> None:
        self.client().put_object(Bucket=self.name, Key=key, Body=content)

    def client(self, service: str = "s3") -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )


@dataclass(frozen=True, slots=True)
class GoogleStorage:
    """A server of Google Cloud Storage with a bucket.

    :param key: the content of a service account's JSON file; None for a server without credentials.
    """

    url: str
    key: dict[str, str] | None = None

    def connection(self) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it; the address is in ``STORAGE_EMULATOR_HOST``."""
        access = {"keyfile_dict": self.key} if self.key else {"is_anonymous": True}
        return {"conn_type": "google_cloud_platform", "extra": {"project": "sandbox", **access}}

    def put(self, key: str, content: bytes) -> None:
        self.client().bucket(BUCKET).blob(key).upload_from_string(content)

    def client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage
        from google.oauth2.service_account import Credentials

        access = (
            Credentials.from_service_account_info(self.key)  # type: ignore[no-untyped-call]
            if self.key
            else AnonymousCredentials()  # type: ignore[no-untyped-call]
        )
        return storage.Client(project="sandbox", credentials=access)


@dataclass(frozen=True, slots=True)
class AzureAccount:
    """A storage account with a container."""

    port: int
    name: str
    key: str

    def connection_string(self, port: int | None = None) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.name};AccountKey={self.key};"
            f"BlobEndpoint=http://{LOOPBACK}:{port or self.port}/{self.name};"
        )

    def connection(self, port: int | None = None) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        return {"conn_type": "wasb", "extra": {"connection_string": self.connection_string(port)}}

    def put(self, name: str, content: bytes) -> None:
        self.client().get_blob_client(BUCKET, name).upload_blob(content, overwrite=True)

    def client(self) -> Any:
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient.from_connection_string(self.connection_string())


#: The system may offer a port again as soon as it is closed, also to the server that has another one already.
_OFFERED: set[int] = set()


def free_port() -> int:
    """Return a port that is free, and another one at each call."""
    while True:
        with socket.socket() as one:
            one.bind((LOOPBACK, 0))
            port: int = one.getsockname()[1]
        if port not in _OFFERED:
            _OFFERED.add(port)
            return port


@contextmanager
def running(command: list[str], ready: str | int, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block.

    :param ready: the port, or the URL, that answers as soon as it is ready.
    """
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log, **options) as process:
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not _answers(ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise AssertionError(f"{command[0]} did not start: {log.read().decode(errors='replace')}")
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(ready: str | int) -> bool:
    try:
        if isinstance(ready, int):
            socket.create_connection((LOOPBACK, ready), timeout=1).close()
        else:
            urllib.request.urlopen(ready, timeout=5).close()
    except urllib.error.HTTPError:
        return False
    except OSError:
        return False
    return True
