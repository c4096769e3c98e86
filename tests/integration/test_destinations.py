"""Every destination on a real server: export, deliver, find, load; and a delivery that fails."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cordial.destinations import (
    Destination,
    FtpDestination,
    GcsDestination,
    S3Destination,
    SftpDestination,
)
from airflow_provider_cordial.destinations.delivery import Patience
from airflow_provider_cordial.exceptions import JobFailedError
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator
from tests.conftest import SetConnection
from tests.integration.conftest import Places

pytestmark = pytest.mark.usefixtures("connections")

QUICK = Patience(timeout=10, poll_interval=0.1, stable_for=0.1, read_timeout=5)
AUDIENCES = ["opened_last_30_days", 'Käufer, "Gold"', "new_subscribers"]


def export(destination: Destination, **options: Any) -> dict[str, Any]:
    """Export to a destination, wait until the job is Done, and return what the operator pushes."""
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        dag_id="dag",
        task_id="export",
        run_id=f"run-{time.monotonic()}",
        map_index=-1,
        max_tries=0,
        xcom_push=pushed.__setitem__,
    )
    ti.xcom_push = lambda key, value: pushed.__setitem__(key, value)
    operator = AudienceTrendsExportOperator(
        task_id="export",
        audiences=AUDIENCES,
        destination=destination,
        selected_timeframe_start="2026-10-01",
        selected_timeframe_end="2026-10-31",
        wait_for_completion=True,
        poll_interval=0.05,
        timeout=60,
        **options,
    )
    operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    result: dict[str, Any] = pushed["export"]
    return result


def load(record: dict[str, Any], **options: Any) -> dict[str, Any]:
    operator = AudienceTrendsToSqlOperator(
        task_id="load", export=record, conn_id="warehouse", create_table=True, patience=QUICK, **options
    )
    return operator.execute({})


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
]


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("file_name", ["{name}.csv", "{name}-{timestamp}.csv", "{name}_{job_id}.csv"])
def test_from_the_export_to_the_rows(places: Places, warehouse: Path, destination: Destination, file_name: str) -> None:
    places.sandbox.control.behaviour(file_name=file_name)
    record = export(destination)
    for _ in range(2):
        counts = load(record)
    with closing(sqlite3.connect(warehouse)) as connection:
        rows = connection.execute("SELECT audience, snapshot_date, contacts FROM audience_trends").fetchall()
    expected = [
        (audience, one["date"], one["contacts"])
        for audience in AUDIENCES
        for one in places.sandbox.control.snapshots(audience=audience, start="2026-10-01", end="2026-10-31")
    ]
    assert sorted(rows, key=str) == sorted(expected, key=str)
    assert (counts["rows"], counts["audiences"], counts["days"]) == (93, 3, 31)


@pytest.mark.parametrize(
    ("conn_id", "changes", "destination", "reason"),
    [
        (
            "ftp_default",
            {"password": "wrong-password"},
            FtpDestination(conn_id="ftp_default", path="exports"),
            "Login failed.",
        ),
        (
            "ftp_default",
            {"port": 9},
            FtpDestination(conn_id="ftp_default", path="exports"),
            "Unable to open connection to",
        ),
        ("ftp_default", {"host": "ftp.invalid"}, FtpDestination(conn_id="ftp_default", path="exports"), "ftp.invalid"),
        ("ftp_default", {}, FtpDestination(conn_id="ftp_default", path="nowhere"), "Invalid file path 'nowhere'."),
        (
            "aws_default",
            {"password": "wrong-secret-key"},
            S3Destination(bucket="acme-cordial", path="x"),
            "SignatureDoesNotMatch",
        ),
        (
            "aws_default",
            {"login": "AKIAWRONGKEY"},
            S3Destination(bucket="acme-cordial", path="x"),
            "InvalidAccessKeyId",
        ),
        ("aws_default", {}, S3Destination(bucket="no-such-bucket", path="x"), "NoSuchBucket"),
        ("aws_default", {}, GcsDestination(bucket="no-such-bucket", path="x"), "NotFound"),
    ],
)
def test_a_delivery_that_fails_fails_the_job_with_its_reason(
    places: Places,
    connections: SetConnection,
    conn_id: str,
    changes: dict[str, Any],
    destination: Destination,
    reason: str,
) -> None:
    bucket, ftp = places.bucket, places.ftp
    fields: dict[str, dict[str, Any]] = {
        "aws_default": {
            "conn_type": "aws",
            "login": bucket.access_key,
            "password": bucket.secret_key,
            "extra": {"region_name": bucket.region},
        },
        "ftp_default": {
            "conn_type": "ftp",
            "host": "127.0.0.1",
            "port": ftp.port,
            "login": ftp.username,
            "password": ftp.password,
        },
    }
    connections(conn_id, **{**fields[conn_id], **changes})
    with pytest.raises(JobFailedError) as failed:
        export(destination)
    assert reason in str(failed.value)
    for secret in (bucket.secret_key, ftp.password, "wrong-password", "wrong-secret-key"):
        assert secret not in str(failed.value)
