"""Reading a delivered file from a real server: complete, or an error in time, whatever stalls or breaks."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_cordial.destinations import (
    AzureBlobDestination,
    Destination,
    FileWait,
    FtpDestination,
    GcsDestination,
    S3Destination,
    SftpDestination,
)
from airflow_provider_cordial.destinations.finder import open_delivered_file
from airflow_provider_cordial.exceptions import (
    CordialError,
    DeliveredFileNotFoundError,
    DestinationAccessError,
    DestinationUnreachableError,
    FileChangedError,
    RefusedError,
)
from tests.helpers.places import QUICK, Places
from tests.helpers.sandbox import NO_HOST_KEYS, SetConnection
from tests.integration.servers.embedded import ftp_server
from tests.integration.servers.strict import vsftpd_server
from tests.integration.servers.trouble import certificate, faulty_proxy

pytestmark = pytest.mark.usefixtures("connections")


PLACES: dict[str, Destination] = {
    "sftp": SftpDestination(conn_id="sftp_default", path="exports"),
    "ftp": FtpDestination(conn_id="ftp_default", path="exports"),
    "s3": S3Destination(bucket="acme-cordial", path="trends"),
    "gcs": GcsDestination(bucket="acme-cordial", path="trends"),
    "azure": AzureBlobDestination(account="cordialtests", container="acme-cordial", path="trends"),
}

WRONG_KEY = (
    "DefaultEndpointsProtocol=http;AccountName=cordialtests;AccountKey=d3Jvbmcta2V5;"
    "BlobEndpoint=http://127.0.0.1:{port}/cordialtests;"
)

CONTENT = b"audience,2026-10-01\n" + b"".join(b"a%d,%d\n" % (n, n) for n in range(60_000))


#: More than one request reads.
LARGE = b"".join(b"a%d,%d\n" % (n, n) for n in range(800_000))


def read(destination: Destination, **file_wait: float) -> bytes:
    wait = FileWait(**{"timeout": 3, "poll_interval": 0.1, "stable_for": 0.1, "read_timeout": 1.5, **file_wait})
    with open_delivered_file(destination, "trends", not_before=datetime.now(UTC), file_wait=wait) as (_, stream):
        return b"".join(iter(lambda: stream.read(1 << 15), b""))


def put(places: Places, name: str, content: bytes = CONTENT) -> None:
    for server in (places.sftp, places.ftp):
        server.put(name, content)
    for store in (places.bucket, places.gcs, places.azure):
        if store:
            store.put(f"trends/{name}", content)


@pytest.mark.parametrize("then", ["stall", "reset"])
@pytest.mark.parametrize("kind", ["sftp", "s3", "gcs", "azure"])
def test_a_stalled_or_broken_read_is_an_error_in_time(
    places: Places, connections: SetConnection, monkeypatch: pytest.MonkeyPatch, kind: str, then: Any
) -> None:
    targets = {"sftp": places.sftp.port, "s3": parse_port(places.bucket.url), "gcs": parse_port(places.gcs.url)}
    target = places.azure_or_skip().port if kind == "azure" else targets[kind]
    put(places, "trends.csv")
    with faulty_proxy(target, after=200_000, then=then) as port:
        url = f"http://127.0.0.1:{port}"
        if kind == "sftp":
            # A compressed file would be smaller than the limit of the proxy.
            extra = {**NO_HOST_KEYS, "compress": "false"}
            connections("sftp_default", **{**places.connections()["sftp_default"], "port": port, "extra": extra})
        elif kind == "s3":
            connections("aws_default", **places.bucket.connection(url))
        elif kind == "gcs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        else:
            connections("wasb_default", **places.azure_or_skip().connection(port))
        started = time.monotonic()
        with pytest.raises((DestinationUnreachableError, DeliveredFileNotFoundError)) as failed:
            read(PLACES[kind])
        assert time.monotonic() - started < 15
        assert isinstance(failed.value, CordialError)
        assert failed.value.retry_helps


def parse_port(url: str) -> int:
    port = urlsplit(url).port
    assert port
    return port


@pytest.mark.parametrize("kind", ["gcs", "azure"])
def test_a_file_replaced_during_a_read_is_an_error(places: Places, kind: str) -> None:
    if kind == "azure":
        places.azure_or_skip()
    put(places, "trends.csv", LARGE)

    def read_and_replace() -> None:
        with open_delivered_file(PLACES[kind], "trends", not_before=datetime.now(UTC), file_wait=QUICK) as (_, stream):
            assert stream.read(1 << 20) == LARGE[: 1 << 20]
            put(places, "trends.csv", LARGE.replace(b"a1", b"b1"))
            while stream.read(1 << 20):
                pass

    with pytest.raises(FileChangedError, match="replaced or deleted"):
        read_and_replace()


@pytest.mark.parametrize(("then", "text"), [("stall", "[Tt]imed? ?out"), ("reset", "EOFError|ConnectionReset|421")])
def test_a_stalled_or_broken_ftp_transfer_is_an_error_in_time(
    connections: SetConnection, tmp_path: Path, then: Any, text: str
) -> None:
    with ftp_server(tmp_path, after=100_000, then=then) as login:
        login.put("trends.csv", CONTENT)
        connections("ftp_default", **login.connection("ftp"))
        started = time.monotonic()
        with pytest.raises(DestinationUnreachableError, match=text):
            read(FtpDestination(conn_id="ftp_default", path="exports"))
        assert time.monotonic() - started < 10


def test_a_silent_ftp_server_is_an_error_in_time(connections: SetConnection) -> None:
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


def test_ftp_over_tls_is_read(
    places: Places,
    connections: SetConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    pem = certificate(tmp_path / "tls.pem")
    is_strict = request.config.getoption("--servers") == "strict"
    server = (
        vsftpd_server(places.ftp, tmp_path / "vsftpd", tls=pem)
        if is_strict
        else ftp_server(tmp_path / "ftp", certificate=pem)
    )
    with server as login:
        login.put("trends.csv", CONTENT)
        connections("ftp_default", **{**login.connection("ftp"), "host": "localhost"})
        destination = FtpDestination(conn_id="ftp_default", path="exports", tls=True)
        with pytest.raises(DestinationAccessError, match="CERTIFICATE_VERIFY_FAILED"):
            read(destination)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert read(destination) == CONTENT
        with pytest.raises(DestinationAccessError, match="denies access"):
            read(FtpDestination(conn_id="ftp_default", path="exports"))


@pytest.mark.parametrize("kind", PLACES)
def test_a_large_file_at_an_exact_path_is_read_completely(places: Places, kind: str) -> None:
    if kind == "azure":
        places.azure_or_skip()
    put(places, "trends.csv")
    destination = PLACES[kind]
    assert read(destination) == CONTENT
    put(places, "other name.csv")
    path = "trends/other name.csv" if kind in ("s3", "gcs", "azure") else "exports/other name.csv"
    with open_delivered_file(destination, "unknown", not_before=datetime.now(UTC), path=path, file_wait=QUICK) as (
        file,
        stream,
    ):
        assert (stream.read(), file.path) == (CONTENT, path)
    with (
        pytest.raises(DeliveredFileNotFoundError, match="other name.csv"),
        open_delivered_file(
            destination, "unknown", not_before=datetime.now(UTC), file_wait=FileWait(timeout=0.2, poll_interval=0.1)
        ),
    ):
        pass


@pytest.mark.parametrize(
    ("conn_id", "changes", "destination"),
    [
        ("sftp_default", {"password": "wrong-password"}, PLACES["sftp"]),
        ("sftp_default", {"port": 9}, PLACES["sftp"]),
        ("ftp_default", {"password": "wrong-password"}, PLACES["ftp"]),
        ("aws_default", {"password": "wrong-password"}, PLACES["s3"]),
        ("aws_default", {}, S3Destination(bucket="no-such-bucket", path="trends")),
        ("google_cloud_default", {}, GcsDestination(bucket="no-such-bucket", path="trends")),
        ("wasb_default", {}, AzureBlobDestination(account="cordialtests", container="no-such-one", path="trends")),
        ("wasb_default", {"extra": {"connection_string": WRONG_KEY}}, PLACES["azure"]),
    ],
)
def test_reading_without_permission_is_an_error(
    places: Places, connections: SetConnection, conn_id: str, changes: dict[str, Any], destination: Destination
) -> None:
    if destination.type == "azureblob":
        port = places.azure_or_skip().port
        changes = {"extra": {"connection_string": WRONG_KEY.format(port=port)}} if changes else {}
    connections(conn_id, **{**places.connections()[conn_id], **changes})
    # A server that does not answer may be back in time; an answer that rejects is final.
    is_final = changes.get("port") != 9
    started = time.monotonic()
    with pytest.raises((DestinationAccessError, DestinationUnreachableError), match=conn_id) as rejected:
        # vsftpd takes its time to reject a login.
        read(destination, timeout=20 if is_final else 2, read_timeout=8)
    assert time.monotonic() - started < 10
    assert isinstance(rejected.value, DestinationAccessError) == is_final
    assert rejected.value.retry_helps != is_final
    for secret in (*places.secrets, "wrong-password", "d3Jvbmcta2V5"):
        assert secret not in str(rejected.value)


def test_an_azure_connection_to_another_account_is_rejected(places: Places) -> None:
    places.azure_or_skip()
    with pytest.raises(
        RefusedError, match="belongs to storage account 'cordialtests', but the destination is account 'acme'"
    ):
        read(AzureBlobDestination(account="acme", container="acme-cordial", path="trends"))
