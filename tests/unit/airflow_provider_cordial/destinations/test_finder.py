"""Finding the delivered file: the right one, complete, in bounded time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.destinations import (
    AzureBlobDestination,
    FileWait,
    FtpDestination,
    GcsDestination,
    S3Destination,
    SftpDestination,
    UiDestination,
    destination_from_json,
    finder,
)
from airflow_provider_cordial.destinations.finder import open_delivered_file
from airflow_provider_cordial.exceptions import (
    DeliveredFileNotFoundError,
    DestinationUnreachableError,
    InvalidExportError,
    MissingConnectionError,
    NoDownloadError,
)
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import SetConnection

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SFTP = SftpDestination(conn_id="sftp_default", path="exports")
QUICK = FileWait(timeout=3, poll_interval=0.05, stable_for=0.2, read_timeout=5)


def test_a_slowly_written_file_is_read_completely(cordial: SandboxProcess) -> None:
    path = cordial.sftp.root / "exports" / "trends.csv"
    parts = [b"audience,2026-11-10\n", b"vip,1\n", b"new,2\n"]

    def write() -> None:
        time.sleep(0.2)
        with path.open("wb", buffering=0) as out:
            for part in parts:
                out.write(part)
                time.sleep(0.15)

    writer = threading.Thread(target=write)
    writer.start()
    with open_delivered_file(SFTP, "trends", not_before=datetime.now(UTC), file_wait=QUICK) as (found, stream):
        assert stream.read() == b"".join(parts)
        assert found.size == len(b"".join(parts))
    writer.join()


def test_a_missing_file_is_an_error_that_lists_the_others(cordial: SandboxProcess) -> None:
    folder = cordial.sftp.root / "exports"
    (folder / "other.csv").write_text("x")
    (folder / "subfolder").mkdir()
    started = time.monotonic()
    with (
        pytest.raises(DeliveredFileNotFoundError) as missing,
        open_delivered_file(
            SFTP, "trends", not_before=datetime.now(UTC), file_wait=FileWait(timeout=0.3, poll_interval=0.1)
        ),
    ):
        pass
    assert time.monotonic() - started < 2
    assert "No file named 'trends'" in missing.value.message
    assert "Files there (1): other.csv (1 bytes, " in missing.value.message


def test_a_wait_is_logged_when_it_starts_and_then_once_per_interval(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(finder, "LOG_INTERVAL", 0.5)
    (cordial.sftp.root / "exports" / "other.csv").write_text("x")
    with (
        caplog.at_level("INFO"),
        pytest.raises(DeliveredFileNotFoundError),
        open_delivered_file(
            SFTP, "trends", not_before=datetime.now(UTC), file_wait=FileWait(timeout=0.9, poll_interval=0.1)
        ),
    ):
        pass
    lines = [record.getMessage() for record in caplog.records if "Waiting for the file" in record.getMessage()]
    assert len(lines) == 2
    assert "file named 'trends'" in lines[0]
    assert "other.csv (1 bytes" in lines[0]


def test_a_missing_folder_is_empty(cordial: SandboxProcess) -> None:
    nowhere = SftpDestination(conn_id="sftp_default", path="nowhere")
    with (
        pytest.raises(DeliveredFileNotFoundError, match=r"Files there \(0\): none"),
        open_delivered_file(nowhere, "t", not_before=NOW, file_wait=FileWait(timeout=0.1, poll_interval=0.1)),
    ):
        pass


def test_a_growing_file_is_never_read(cordial: SandboxProcess) -> None:
    path = cordial.sftp.root / "exports" / "trends.csv"
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as out:
            while not stop.is_set():
                out.write(b"x")
                time.sleep(0.02)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with (
            pytest.raises(DeliveredFileNotFoundError, match="was still growing"),
            open_delivered_file(
                SFTP,
                "trends",
                not_before=datetime.now(UTC),
                file_wait=FileWait(timeout=1, poll_interval=0.1, stable_for=0.2),
            ),
        ):
            pass
    finally:
        stop.set()
        writer.join()


def test_an_empty_file_is_incomplete(cordial: SandboxProcess) -> None:
    (cordial.sftp.root / "exports" / "trends.csv").touch()
    file_wait = FileWait(timeout=0.5, poll_interval=0.1, stable_for=0.1)
    with (
        pytest.raises(DeliveredFileNotFoundError, match="trends.csv' was still empty after 0.5 s"),
        open_delivered_file(SFTP, "trends", not_before=datetime.now(UTC), file_wait=file_wait),
    ):
        pass


def test_an_exact_path_accepts_any_name_but_no_old_file(cordial: SandboxProcess) -> None:
    path = cordial.sftp.root / "exports" / "odd name.txt"
    path.write_text("content")
    with open_delivered_file(
        SFTP, "trends", not_before=datetime.now(UTC), path="exports/odd name.txt", file_wait=QUICK
    ) as (
        _,
        stream,
    ):
        assert stream.read() == b"content"
    with (
        pytest.raises(DeliveredFileNotFoundError, match="file 'exports/odd name.txt'"),
        open_delivered_file(
            SFTP,
            "trends",
            not_before=datetime.now(UTC) + timedelta(hours=1),
            path="exports/odd name.txt",
            file_wait=FileWait(timeout=0.1, poll_interval=0.1),
        ),
    ):
        pass


def test_a_large_file_is_read_completely(cordial: SandboxProcess) -> None:
    content = bytes(range(256)) * 40_000
    (cordial.sftp.root / "exports" / "trends.csv").write_bytes(content)
    with open_delivered_file(SFTP, "trends", not_before=datetime.now(UTC), file_wait=QUICK) as (_, stream):
        pieces = list(iter(lambda: stream.read(100_000), b""))
    assert b"".join(pieces) == content


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"host": "127.0.0.1", "port": 9}, "'sftp_wrong' (127.0.0.1)"),
        ({"host": "sftp.invalid"}, "'sftp_wrong' (sftp.invalid)"),
    ],
)
def test_an_unreachable_server_is_reported(set_connection: SetConnection, fields: dict[str, object], text: str) -> None:
    set_connection("sftp_wrong", conn_type="sftp", login="u", password="secret-123", **fields)
    with (
        pytest.raises(DestinationUnreachableError) as failed,
        SftpDestination(conn_id="sftp_wrong", path="x").reader(timeout=5),
    ):
        pass
    assert text in failed.value.message
    assert "secret-123" not in failed.value.message


def test_the_jobs_page_cannot_be_read() -> None:
    with pytest.raises(NoDownloadError, match="(?s)Jobs page.*export to another destination"):
        UiDestination().reader(timeout=1)


def test_destinations_round_trip_through_json() -> None:
    for destination in (
        SFTP,
        SftpDestination(conn_id="c", path="p", saved_key="k"),
        FtpDestination(conn_id="c", path="p", tls=True),
        S3Destination(bucket="b", path="p", region="r", use_iam_role=True),
        AzureBlobDestination(account="a", container="c", path="p"),
        GcsDestination(bucket="b", path="p"),
        UiDestination(),
    ):
        assert destination_from_json(destination.to_json()) == destination


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({}, "Invalid destination: expected a member 'type', one of aws, azureblob, ftp, gcs, "),
        ({"type": {"password": "hunter22"}}, "Invalid destination: expected a member 'type'"),
        ({"type": "dropbox"}, "Invalid destination type 'dropbox': expected one of aws, azureblob, "),
        ({"type": "sftp"}, "Missing members of destination 'sftp': conn_id, path."),
        ({"type": "sftp", "path": "hunter22"}, "Missing members of destination 'sftp': conn_id."),
        ({"type": "aws", "path": "hunter22"}, "Unknown members of destination 'aws': path. Expected: none."),
        (
            {"type": "sftp", "conn_id": "hunter22-c", "path": "hunter22-p", "password": "hunter22-x", "user": "u"},
            "Unknown members of destination 'sftp': password, user. Expected: conn_id, path, saved_key.",
        ),
    ],
)
def test_invalid_records_are_rejected_without_their_values(record: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        destination_from_json(record)
    assert text in rejected.value.message
    assert "hunter22" not in rejected.value.message


def test_destination_texts_are_templated() -> None:
    rendered = SftpDestination(conn_id="c", path="x/{{ ds }}").rendered(lambda text: text.replace("{{ ds }}", "2026"))
    assert rendered == SftpDestination(conn_id="c", path="x/2026")
    assert Path(rendered.path).name == "2026"


def test_a_missing_connection_is_an_error_at_once_that_creates_it() -> None:
    started = time.monotonic()
    with pytest.raises(MissingConnectionError, match="Airflow connection 'nowhere' does not exist") as missing:
        open_delivered_file(
            SftpDestination(conn_id="nowhere", path="x"), "t", not_before=None, file_wait=FileWait(timeout=60)
        ).__enter__()
    assert "airflow connections add nowhere --conn-type sftp" in missing.value.message
    assert time.monotonic() - started < 10
