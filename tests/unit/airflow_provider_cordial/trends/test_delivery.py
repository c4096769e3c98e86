"""A delivered file while it arrives: whole, or read again; never half a number or half a file."""

from __future__ import annotations

import gzip
import io
import logging
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.destinations import FileWait, finder
from airflow_provider_cordial.trends import CsvFormat, ForeignTrendsError, IncompleteTrendsError, TrendsCsvError
from airflow_provider_cordial.trends.delivery import open_delivered_trends
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import GOLD, PLAIN, QUICK, deliver, export

Rows = dict[str, list[int | None]]

WHOLE: Rows = {"a": [1, 2], GOLD: [3, 61234]}
TEXT = PLAIN.replace("3,\n", "3,61234\n")

#: Far longer than the pauses of a writer.
LONG = FileWait(timeout=30, poll_interval=0.05, stable_for=0.05, incomplete_for=20, read_timeout=5)


def read(record: dict[str, Any] | None = None, **options: Any) -> Rows:
    defaults = {"path": None, "on_missing": "fail", "csv_format": None, "file_wait": QUICK}
    with open_delivered_trends(record or export(), **{**defaults, **options}) as trends:
        return {row.audience: row.contacts for row in trends.spool}


@contextmanager
def writing(sandbox: SandboxProcess, first: str, rest: str) -> Iterator[None]:
    """Deliver the first part of a file, and the rest once the first part was read and found incomplete."""
    path = sandbox.sftp.root / "exports" / "trends.csv"
    path.write_text(first)
    was_read = threading.Event()

    class Observer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "may still be growing" in record.getMessage():
                was_read.set()

    def write() -> None:
        was_read.wait()
        with path.open("a") as file:
            file.write(rest)

    observer, thread = Observer(), threading.Thread(target=write)
    finder.log.addHandler(observer)
    thread.start()
    try:
        yield
    finally:
        finder.log.removeHandler(observer)
        was_read.set()
        thread.join()


@pytest.mark.parametrize("on_missing", ["fail", "warn", "ignore"])
@pytest.mark.parametrize("at", [len(TEXT) - 4, len(TEXT) - 8, len(TEXT) - 15, 30, 20])
def test_a_file_whose_writer_pauses_is_read_when_it_is_whole(
    cordial: SandboxProcess, caplog: pytest.LogCaptureFixture, on_missing: str, at: int
) -> None:
    # In the last number, before it, in a quoted name, between two rows, and in the header.
    caplog.set_level("INFO")
    with writing(cordial, TEXT[:at], TEXT[at:]):
        assert read(on_missing=on_missing, file_wait=LONG) == WHOLE


@pytest.mark.parametrize("on_missing", ["fail", "warn", "ignore"])
@pytest.mark.parametrize("at", [len(TEXT) - 8, len(TEXT) - 15, 20])
def test_a_truncated_file_is_an_error_that_a_retry_helps(cordial: SandboxProcess, on_missing: str, at: int) -> None:
    deliver(cordial, TEXT[:at])
    with pytest.raises(IncompleteTrendsError, match="truncated inside") as raised:
        read(on_missing=on_missing)
    assert raised.value.retry_helps
    assert not isinstance(raised.value, AirflowFailException)


def test_a_file_that_only_lacks_the_last_newline_is_accepted_after_a_wait(
    cordial: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(cordial, TEXT.rstrip("\n"))
    started = time.monotonic()
    assert read() == WHOLE
    assert time.monotonic() - started >= QUICK.incomplete_for
    assert "The last line of the file has no newline" in caplog.text
    assert "CsvFormat(final_newline=False)" in caplog.text


def test_a_writer_that_never_ends_the_last_line_can_be_read_without_a_wait(
    cordial: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(cordial, TEXT.rstrip("\n"))
    assert read(csv_format=CsvFormat(final_newline=False), file_wait=LONG) == WHOLE
    assert "newline" not in caplog.text


@pytest.mark.parametrize("on_missing", ["warn", "ignore"])
def test_half_a_number_is_not_accepted_with_missing_rows(cordial: SandboxProcess, on_missing: str) -> None:
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2")
    with pytest.raises(IncompleteTrendsError, match="has no newline\\.\\sThe file lacks 1 requested audience"):
        read(on_missing=on_missing)


def test_a_late_incomplete_file_is_watched_beyond_the_timeout(cordial: SandboxProcess) -> None:
    wait = FileWait(timeout=1, poll_interval=0.05, stable_for=0.05, incomplete_for=2, read_timeout=5)
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
    started = time.monotonic()
    assert read(on_missing="warn", file_wait=wait) == {"a": [1, 2]}
    assert time.monotonic() - started >= 2


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(TEXT.replace(",", ";").replace("Käufer;", "Käufer,"), TrendsCsvError, id="delimiter"),
        pytest.param(TEXT.replace("a,1,2", "a,1"), TrendsCsvError, id="short-row"),
        pytest.param(TEXT + "b,1,2\n", ForeignTrendsError, id="another-export"),
    ],
)
def test_a_final_error_does_not_wait(cordial: SandboxProcess, content: str, error: type[Exception]) -> None:
    deliver(cordial, content)
    started = time.monotonic()
    with pytest.raises(error) as raised:
        read(on_missing="warn", file_wait=LONG)
    assert time.monotonic() - started < 10
    assert isinstance(raised.value, AirflowFailException)


def zipped(content: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trends.csv", content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("trends.csv.gz", gzip.compress(TEXT.encode())),
        ("trends.csv", gzip.compress(TEXT.encode())),
        ("trends.zip", zipped(TEXT)),
        ("trends.csv", zipped(TEXT)),
    ],
    # The content has the time in it, and tests have the same names in all processes.
    ids=["gzip", "gzip-as-csv", "zip", "zip-as-csv"],
)
def test_a_compressed_file_is_read(cordial: SandboxProcess, name: str, content: bytes) -> None:
    deliver(cordial, content, name)
    assert read() == WHOLE


@pytest.mark.parametrize("content", [gzip.compress(TEXT.encode()), zipped(TEXT)], ids=["gzip", "zip"])
def test_a_truncated_compressed_file_is_incomplete(cordial: SandboxProcess, content: bytes) -> None:
    deliver(cordial, content[:-5])
    with pytest.raises(IncompleteTrendsError, match="ends before its content does"):
        read(on_missing="warn")


@pytest.mark.parametrize(
    ("record", "csv_format", "expected"),
    [
        pytest.param({"timezone": "Europe/Berlin"}, None, None, id="of-the-account"),
        pytest.param({}, CsvFormat(timezone="Europe/Berlin"), None, id="of-the-format"),
        pytest.param({"timezone": "UTC"}, CsvFormat(timezone="Europe/Berlin"), None, id="of-both"),
        pytest.param({}, None, "CsvFormat(timezone=", id="unknown"),
        pytest.param({"timezone": "UTC"}, None, "day '2026-11-09', .* set CsvFormat(timezone=", id="of-another"),
    ],
)
def test_a_header_with_an_offset_is_the_day_of_the_account(
    cordial: SandboxProcess, record: dict[str, Any], csv_format: CsvFormat | None, expected: str | None
) -> None:
    header = "2026-11-09T23:00:00Z,2026-11-10T23:00:00+00:00"
    deliver(cordial, TEXT.replace("2026-11-10,2026-11-11", header))
    if expected is None:
        assert read(export(**record), csv_format=csv_format) == WHOLE
        return
    with pytest.raises((TrendsCsvError, ForeignTrendsError)) as rejected:
        read(export(**record), csv_format=csv_format)
    assert re.search(expected.replace("(", r"\("), rejected.value.message)
