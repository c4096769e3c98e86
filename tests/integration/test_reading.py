"""Reading a delivered file from a real server: whole, or an error in time, whatever stalls or breaks."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_provider_cordial.destinations import (
    Destination,
    FtpDestination,
    GcsDestination,
    S3Destination,
    SftpDestination,
)
from airflow_provider_cordial.destinations.delivery import Patience, delivered_file
from airflow_provider_cordial.exceptions import (
    CordialError,
    DeliveredFileNotFoundError,
    DestinationUnreachableError,
)
from tests.conftest import SetConnection
from tests.integration.conftest import Places
from tests.integration.servers import certificate, faulty_proxy, ftp_server

pytestmark = pytest.mark.usefixtures("connections")

QUICK = Patience(timeout=10, poll_interval=0.1, stable_for=0.1, read_timeout=5)

PLACES: dict[str, Destination] = {
    "sftp": SftpDestination(conn_id="sftp_default", path="exports"),
    "ftp": FtpDestination(conn_id="ftp_default", path="exports"),
    "s3": S3Destination(bucket="acme-cordial", path="trends"),
    "gcs": GcsDestination(bucket="acme-cordial", path="trends"),
}

CONTENT = b"audience,2026-10-01\n" + b"".join(b"a%d,%d\n" % (n, n) for n in range(60_000))


def read(destination: Destination, **patience: float) -> bytes:
    wait = Patience(**{"timeout": 3, "poll_interval": 0.1, "stable_for": 0.1, "read_timeout": 1.5, **patience})
    with delivered_file(destination, "trends", not_before=datetime.now(UTC), patience=wait) as (_, stream):
        return b"".join(iter(lambda: stream.read(1 << 15), b""))


def put(places: Places, name: str) -> None:
    (places.sandbox.sftp.root / "exports" / name).write_bytes(CONTENT)
    (places.ftp_root / "exports" / name).write_bytes(CONTENT)
    places.bucket.put(f"trends/{name}", CONTENT)
    client = storage.Client(project="sandbox", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    client.bucket("acme-cordial").blob(f"trends/{name}").upload_from_string(CONTENT)


@pytest.mark.parametrize("then", ["stall", "reset"])
@pytest.mark.parametrize("kind", ["sftp", "s3", "gcs"])
def test_a_read_that_stalls_or_breaks_ends_in_an_error_in_time(
    places: Places, connections: SetConnection, monkeypatch: pytest.MonkeyPatch, kind: str, then: Any
) -> None:
    put(places, "trends.csv")
    sftp, bucket = places.sandbox.sftp, places.bucket
    addresses = {"s3": bucket.url, "gcs": os.environ["STORAGE_EMULATOR_HOST"]}
    target = sftp.port if kind == "sftp" else urlsplit(addresses[kind]).port
    assert target
    with faulty_proxy(target, after=200_000, then=then) as port:
        if kind == "sftp":
            connections(
                "sftp_default",
                conn_type="sftp",
                host="127.0.0.1",
                port=port,
                login=sftp.username,
                password=sftp.password,
                # Compressed, the file would fit into what is let through.
                extra={"no_host_key_check": "true", "look_for_keys": "false", "compress": "false"},
            )
        elif kind == "gcs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        else:
            connections(
                "aws_default",
                conn_type="aws",
                login=bucket.access_key,
                password=bucket.secret_key,
                extra={"region_name": bucket.region, "endpoint_url": f"http://127.0.0.1:{port}"},
            )
        destination = PLACES[kind]
        started = time.monotonic()
        with pytest.raises((DestinationUnreachableError, DeliveredFileNotFoundError)) as failed:
            read(destination)
        assert time.monotonic() - started < 15
        assert isinstance(failed.value, CordialError)
        assert failed.value.retry_helps


def test_an_ftp_transfer_that_stalls_ends_in_an_error_in_time(connections: SetConnection, tmp_path: Path) -> None:
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "trends.csv").write_bytes(CONTENT)
    with ftp_server(tmp_path, stall_after=100_000) as login:
        connections(
            "ftp_default",
            conn_type="ftp",
            host="127.0.0.1",
            port=login.port,
            login=login.username,
            password=login.password,
        )
        started = time.monotonic()
        with pytest.raises(DestinationUnreachableError, match=r"[Tt]imed? ?out"):
            read(FtpDestination(conn_id="ftp_default", path="exports"))
        assert time.monotonic() - started < 10


def test_an_ftp_server_that_does_not_answer_ends_in_an_error_in_time(connections: SetConnection) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        connections(
            "ftp_default",
            conn_type="ftp",
            host="127.0.0.1",
            port=silent.getsockname()[1],
            login="u",
            password="secret-123",
        )
        started = time.monotonic()
        with pytest.raises(DestinationUnreachableError, match="ftp_default"):
            read(FtpDestination(conn_id="ftp_default", path="exports"))
        assert time.monotonic() - started < 10
    assert socket.getdefaulttimeout() is None


def test_ftp_over_tls_is_read(connections: SetConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "trends.csv").write_bytes(CONTENT)
    pem = certificate(tmp_path / "tls.pem")
    with ftp_server(tmp_path, certificate=pem) as login:
        fields = {"port": login.port, "login": login.username, "password": login.password}
        connections("ftp_default", conn_type="ftp", host="localhost", **fields)
        destination = FtpDestination(conn_id="ftp_default", path="exports", tls=True)
        with pytest.raises(DestinationUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            read(destination)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert read(destination) == CONTENT
        with pytest.raises(DestinationUnreachableError):
            read(FtpDestination(conn_id="ftp_default", path="exports"))


@pytest.mark.parametrize("kind", ["sftp", "ftp", "s3", "gcs"])
def test_a_large_file_comes_through_whole_and_an_exact_path_is_taken(places: Places, kind: str) -> None:
    put(places, "trends.csv")
    destination = PLACES[kind]
    assert read(destination) == CONTENT
    put(places, "other name.csv")
    path = "trends/other name.csv" if kind in ("s3", "gcs") else "exports/other name.csv"
    with delivered_file(destination, "unheard-of", not_before=datetime.now(UTC), path=path, patience=QUICK) as (
        file,
        stream,
    ):
        assert (stream.read(), file.path) == (CONTENT, path)
    with (
        pytest.raises(DeliveredFileNotFoundError, match="other name.csv"),
        delivered_file(
            destination, "unheard-of", not_before=datetime.now(UTC), patience=Patience(timeout=0.2, poll_interval=0.1)
        ),
    ):
        pass


@pytest.mark.parametrize(
    ("conn_id", "fields", "destination"),
    [
        ("ftp_default", {"password": "wrong-password"}, FtpDestination(conn_id="ftp_default", path="exports")),
        ("aws_default", {"password": "wrong-password"}, S3Destination(bucket="acme-cordial", path="trends")),
        ("aws_default", {}, S3Destination(bucket="no-such-bucket", path="trends")),
    ],
)
def test_reading_where_one_may_not(
    places: Places, connections: SetConnection, conn_id: str, fields: dict[str, Any], destination: Destination
) -> None:
    bucket, ftp = places.bucket, places.ftp
    if conn_id == "ftp_default":
        connections(conn_id, conn_type="ftp", host="127.0.0.1", port=ftp.port, login=ftp.username, **fields)
    else:
        extra = {"region_name": bucket.region, "endpoint_url": bucket.url}
        password = fields.get("password", bucket.secret_key)
        connections(conn_id, conn_type="aws", login=bucket.access_key, password=password, extra=extra)
    with pytest.raises(DestinationUnreachableError, match=conn_id) as refused:
        read(destination)
    assert "wrong-password" not in str(refused.value)
