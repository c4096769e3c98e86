"""Every destination on a real server: export, deliver, find, load; and a delivery that fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

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
from airflow_provider_cordial.exceptions import DestinationAccessError, JobFailedError, RefusedError
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator
from tests.helpers.places import QUICK, Places, Row, export, snapshots
from tests.helpers.sandbox import SetConnection
from tests.integration.servers import GoogleStorage
from tests.integration.servers.gateway import service_account_key
from tests.integration.servers.strict import READER, USER
from tests.integration.servers.trouble import small_disk

pytestmark = pytest.mark.usefixtures("connections")


def skip_without_a_server(places: Places, destination: Destination) -> None:
    if destination.type == "azureblob":
        places.azure_or_skip()


def read_rows(warehouse: Path) -> list[Row]:
    with closing(sqlite3.connect(warehouse)) as connection:
        rows = connection.execute("SELECT audience, snapshot_date, contacts FROM audience_trends").fetchall()
    return sorted(rows, key=str)


def load(record: dict[str, Any], **options: Any) -> dict[str, Any]:
    operator = AudienceTrendsToSqlOperator(
        task_id="load", export=record, conn_id="warehouse", create_table=True, **{"file_wait": QUICK, **options}
    )
    return operator.execute({})


def azure(path: str, container: str = "acme-cordial", account: str = "cordialtests") -> AzureBlobDestination:
    return AzureBlobDestination(account=account, container=container, path=path)


DESTINATIONS = [
    pytest.param(SftpDestination(conn_id="sftp_default", path="exports"), id="sftp"),
    pytest.param(SftpDestination(conn_id="sftp_default", path="/exports/"), id="sftp-absolute"),
    pytest.param(FtpDestination(conn_id="ftp_default", path="exports"), id="ftp"),
    pytest.param(FtpDestination(conn_id="ftp_default", path="/exports/"), id="ftp-absolute"),
    pytest.param(S3Destination(bucket="acme-cordial", path="trends"), id="s3-folder"),
    pytest.param(S3Destination(bucket="acme-cordial", path="/a/b/"), id="s3-folder-with-slashes"),
    pytest.param(S3Destination(bucket="acme-cordial", path="files/trends.csv"), id="s3-file"),
    pytest.param(GcsDestination(bucket="acme-cordial", path="/trends/"), id="gcs-folder"),
    pytest.param(GcsDestination(bucket="acme-cordial", path="files/trends.csv"), id="gcs-file"),
    pytest.param(azure("/trends/"), id="azure-folder"),
    pytest.param(azure("files/trends.csv"), id="azure-file"),
]


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("file_name", ["{name}.csv", "{name}-{timestamp}.csv", "{name}_{job_id}.csv"])
def test_an_export_is_delivered_and_loaded(
    places: Places, warehouse: Path, destination: Destination, file_name: str
) -> None:
    skip_without_a_server(places, destination)
    places.sandbox.control.behaviour(file_name=file_name)
    record = export(destination)
    for _ in range(2):
        counts = load(record)
    assert read_rows(warehouse) == snapshots(places)
    assert (counts["rows"], counts["audiences"], counts["days"]) == (93, 3, 31)


def ftp(path: str = "exports") -> FtpDestination:
    return FtpDestination(conn_id="ftp_default", path=path)


def sftp(path: str = "exports", saved_key: str | None = None) -> SftpDestination:
    return SftpDestination(conn_id="sftp_default", path=path, saved_key=saved_key)


def s3(bucket: str = "acme-cordial") -> S3Destination:
    return S3Destination(bucket=bucket, path="x")


@pytest.mark.parametrize(
    ("conn_id", "changes", "destination", "reason"),
    [
        ("sftp_default", {"password": "wrong-password"}, sftp(), "Login failed."),
        ("sftp_default", {"port": 9}, sftp(), "Unable to open connection to"),
        ("sftp_default", {"host": "sftp.invalid"}, sftp(), "sftp.invalid"),
        ("sftp_default", {}, sftp("nowhere"), "Invalid file path 'nowhere'."),
        ("ftp_default", {"password": "wrong-password"}, ftp(), "Login failed."),
        ("ftp_default", {"port": 9}, ftp(), "Unable to open connection to"),
        ("ftp_default", {"host": "ftp.invalid"}, ftp(), "ftp.invalid"),
        ("ftp_default", {}, ftp("nowhere"), "Invalid file path 'nowhere'."),
        ("ftp_default", {}, ftp("read-only"), "Invalid file path 'read-only'."),
        ("aws_default", {"password": "wrong-secret-key"}, s3(), "SignatureDoesNotMatch"),
        ("aws_default", {"login": "AKIAWRONGKEY"}, s3(), "InvalidAccessKeyId"),
        ("aws_default", {}, s3("no-such-bucket"), "NoSuchBucket"),
        ("google_cloud_default", {}, GcsDestination(bucket="no-such-bucket", path="x"), "NotFound"),
        ("wasb_default", {}, azure("x", container="no-such-container"), "ContainerNotFound"),
        ("wasb_default", {}, azure("x", account="another"), "No access to the storage account 'another'"),
    ],
)
def test_a_failed_delivery_fails_the_job_with_its_reason(
    places: Places,
    connections: SetConnection,
    conn_id: str,
    changes: dict[str, Any],
    destination: Destination,
    reason: str,
) -> None:
    skip_without_a_server(places, destination)
    connections(conn_id, **{**places.connections()[conn_id], **changes})
    with pytest.raises(JobFailedError) as failed:
        export(destination)
    assert reason in str(failed.value)
    assert repr(destination) in str(failed.value)
    for secret in (*places.secrets, "wrong-password", "wrong-secret-key"):
        assert secret not in str(failed.value)


def test_sftp_with_a_saved_key(places: Places, connections: SetConnection, warehouse: Path) -> None:
    public_key = places.sandbox.control.create_saved_key("warehouse")
    if places.authorized_keys:
        places.authorized_keys.write_text(public_key)
    record = export(sftp(saved_key="warehouse"))
    (job,) = places.sandbox.control.jobs()
    assert "password" not in job["destination"]
    load(record)
    assert read_rows(warehouse) == snapshots(places)
    with pytest.raises(RefusedError, match="SSH key with such Name/ID: another does not exist"):
        export(sftp(saved_key="another"))


@pytest.mark.strict
def test_a_read_only_folder_fails_the_job(places: Places) -> None:
    with pytest.raises(JobFailedError, match="Invalid file path 'read-only'") as failed:
        export(sftp("read-only"))
    assert "ermission denied" in str(failed.value)
    assert list((places.sftp.root / "read-only").iterdir()) == []


@pytest.mark.strict
def test_a_read_only_bucket_fails_the_job(places: Places, connections: SetConnection) -> None:
    fields = {**places.bucket.connection(), "login": READER["accessKey"], "password": READER["secretKey"]}
    connections("aws_default", **fields)
    with pytest.raises(JobFailedError, match="AccessDenied") as failed:
        export(s3())
    assert READER["secretKey"] not in str(failed.value)


@pytest.mark.parametrize("destination", [sftp(), ftp()], ids=lambda one: str(one.type))
def test_a_file_in_writing_is_awaited(places: Places, warehouse: Path, destination: Destination) -> None:
    places.sandbox.control.behaviour(delivery_delay=0.1, write_seconds=2)
    record = export(destination)
    load(record, file_wait=FileWait(timeout=20, poll_interval=0.1, stable_for=0.5, read_timeout=5))
    assert read_rows(warehouse) == snapshots(places)


@pytest.mark.strict
@pytest.mark.parametrize("write_seconds", [0, 0.1])
@pytest.mark.parametrize("destination", [sftp("exports/disk"), ftp("exports/disk")], ids=lambda one: str(one.type))
def test_a_full_disk_fails_the_job(
    places: Places, warehouse: Path, destination: Destination, write_seconds: float
) -> None:
    folder = places.sftp.root / "exports" / "disk"
    folder.mkdir(exist_ok=True)
    places.sandbox.control.behaviour(write_seconds=write_seconds)
    with small_disk(folder, kibibytes=64, owner=USER):
        filler = folder / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * (1 << 20))
        with pytest.raises(JobFailedError) as failed:
            export(destination)
        assert "exports/disk" in str(failed.value)
        filler.unlink()
        # The truncated file is still there, also under the name of the next file.
        load(export(destination))
    assert read_rows(warehouse) == snapshots(places)


@pytest.mark.strict
def test_s3_over_tls(places: Places, connections: SetConnection, warehouse: Path, monkeypatch: Any) -> None:
    assert places.s3_over_tls
    url, authority = places.s3_over_tls
    record = export(s3())
    connections("aws_default", **places.bucket.connection(url))
    with pytest.raises(DestinationAccessError, match="CERTIFICATE_VERIFY_FAILED"):
        load(record)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    load(record)
    assert read_rows(warehouse) == snapshots(places)


@pytest.mark.strict
def test_google_storage_for_another_account(places: Places, connections: SetConnection) -> None:
    record = export(GcsDestination(bucket="acme-cordial", path="trends"))
    another, _ = service_account_key(f"{places.gcs.url}/token")
    connections("google_cloud_default", **GoogleStorage(places.gcs.url, another).connection())
    with pytest.raises(DestinationAccessError, match="google_cloud_default") as rejected:
        load(record)
    assert "invalid_grant" in str(rejected.value)
    assert another["private_key"] not in str(rejected.value)
