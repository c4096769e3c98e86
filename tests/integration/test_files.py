"""Long files and copies of delivered files, on every kind of store that ObjectStoragePath reaches."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.transfers import AudienceTrendsToFileOperator, DeliveredFileToObjectStorageOperator
from tests.helpers.places import QUICK, Places, export, snapshots

pytestmark = pytest.mark.usefixtures("connections")

Files = dict[str, bytes]


def s3_files(places: Places, folder: str) -> Files:
    client, bucket = places.bucket.client(), places.bucket.name
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/").get("Contents", [])
    return {one["Key"]: client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}


def gcs_files(places: Places, folder: str) -> Files:
    bucket = places.gcs.client().bucket("acme-cordial")
    return {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs(prefix=f"{folder}/")}


def azure_files(places: Places, folder: str) -> Files:
    container = places.azure_or_skip().client().get_container_client("acme-cordial")
    names = [blob.name for blob in container.list_blobs(name_starts_with=f"{folder}/") if blob.size]
    return {name: container.download_blob(name).readall() for name in names}


STORES: list[Any] = [
    pytest.param("s3://aws_default@acme-cordial", s3_files, id="s3"),
    pytest.param("gs://google_cloud_default@acme-cordial", gcs_files, id="gs"),
    pytest.param("abfs://wasb_default@acme-cordial", azure_files, id="abfs"),
]


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
@pytest.mark.parametrize(("place", "files_of"), STORES)
def test_one_file_per_day_is_written_again_unchanged(
    places: Places, place: str, files_of: Callable[[Places, str], Files], file_format: Any
) -> None:
    if place.startswith("abfs"):
        places.azure_or_skip()
    folder = f"long-{time.monotonic_ns()}"
    record = export(SftpDestination(conn_id="sftp_default", path="exports"))
    operator = AudienceTrendsToFileOperator(
        task_id="write", export=record, path=f"{place}/{folder}", file_format=file_format, file_wait=QUICK
    )
    written = []
    for _ in range(2):
        counts = operator.execute({})
        written.append(files_of(places, folder))
    assert written[0] == written[1]
    assert (counts["rows"], counts["files"]) == (93, 31)
    assert sorted(written[0]) == [
        f"{folder}/snapshot_date=2026-10-{day:02}/audience_trends.{file_format}" for day in range(1, 32)
    ]
    rows = [row for content in written[0].values() for row in rows_of(content, file_format)]
    assert sorted(rows, key=str) == snapshots(places)


@pytest.mark.parametrize(("place", "files_of"), STORES)
def test_a_delivered_file_is_copied_byte_for_byte(
    places: Places, place: str, files_of: Callable[[Places, str], Files]
) -> None:
    if place.startswith("abfs"):
        places.azure_or_skip()
    folder = f"copy-{time.monotonic_ns()}"
    record = export(SftpDestination(conn_id="sftp_default", path="exports"))
    operator = DeliveredFileToObjectStorageOperator(
        task_id="copy", export=record, path=f"{place}/{folder}", file_wait=QUICK
    )
    copied = []
    for _ in range(2):
        result = operator.execute({})
        copied.append(files_of(places, folder))
    assert copied[0] == copied[1]
    ((name, content),) = copied[0].items()
    assert result == {"path": f"{place}/{name}", "bytes": len(content), "parts": 1}
    assert sorted(trends_of(content)) == sorted({row[0] for row in snapshots(places)})


def trends_of(content: bytes) -> list[str]:
    return [row[0] for row in csv.reader(io.StringIO(content.decode(), newline=""))][1:]


def rows_of(content: bytes, file_format: str) -> list[tuple[str, str, int | None]]:
    if file_format == "csv":
        read = csv.DictReader(io.StringIO(content.decode(), newline=""))
        return [
            (row["audience"], row["snapshot_date"], int(row["contacts"]) if row["contacts"] else None) for row in read
        ]
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content)).to_pylist()
    return [(row["audience"], str(row["snapshot_date"]), row["contacts"]) for row in table]
