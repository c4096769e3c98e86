"""Searching and reading on a server that changes, breaks, or reports little."""

from __future__ import annotations

import gzip
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import pytest

from airflow_provider_cordial.destinations import DeliveredFile, FileWait, open_delivered_file, read_delivered_file
from airflow_provider_cordial.exceptions import (
    AmbiguousFileError,
    CordialError,
    DeliveredFileNotFoundError,
    DeliveryError,
    DestinationAccessError,
    DestinationUnreachableError,
    FileChangedError,
    IncompleteFileError,
)
from tests.helpers.memory import Folder, MemoryDestination

QUICK = FileWait(timeout=2, poll_interval=0.02, stable_for=0.04, incomplete_for=0.2, read_timeout=5)

CONTENT = b"audience,2026-11-10\nvip,61234\nnew,2\n"


@dataclass
class Rows:
    """What was read: complete if it ends with the last audience."""

    path: str
    content: bytes
    is_closed: bool = False

    @property
    def incomplete(self) -> IncompleteFileError | None:
        return None if b"new," in self.content else IncompleteFileError("The file lacks 1 requested audience: new.")

    def close(self) -> None:
        self.is_closed = True


def rows(file: DeliveredFile, stream: BinaryIO) -> Rows:
    return Rows(file.path, b"".join(iter(lambda: stream.read(64), b"")))


def load(folder: Folder, *, wait: FileWait = QUICK, not_before: datetime | None = None, **options: Any) -> Rows:
    read: Callable[[DeliveredFile, BinaryIO], Rows] = options.pop("read", rows)
    return read_delivered_file(
        MemoryDestination(folder), "trends", read, not_before=not_before, file_wait=wait, **options
    )


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


@pytest.mark.parametrize("offset", [-86_400, -3_600, 3_600])
def test_a_unique_name_needs_no_clock(offset: float) -> None:
    folder = Folder()
    folder.put("trends.csv", CONTENT, ago(-offset))
    found = load(folder, not_before=ago(0), has_unique_name=True)
    assert found.content == CONTENT
    assert load(folder, not_before=None).content == CONTENT


@pytest.mark.parametrize("path", [None, "trends.csv"])
def test_a_unique_name_needs_no_time(path: str | None) -> None:
    folder = Folder(reports_time=False)
    folder.put("trends.csv", CONTENT)
    assert load(folder, not_before=ago(0), has_unique_name=True, path=path).content == CONTENT


def test_a_fixed_path_is_not_unique_because_the_name_is() -> None:
    folder = Folder()
    folder.put("latest.csv", CONTENT, ago(3_600))
    with pytest.raises(DeliveredFileNotFoundError, match="No file 'latest.csv' arrived within 0.1 s: expected one mod"):
        load(folder, not_before=ago(0), has_unique_name=True, path="latest.csv", wait=FileWait(timeout=0.1))


@pytest.mark.parametrize("reports_time", [True, False])
def test_an_older_file_of_a_name_that_is_not_unique_is_never_read(reports_time: bool) -> None:
    folder = Folder(reports_time=reports_time)
    folder.put("trends.csv", CONTENT, ago(3_600))
    with pytest.raises(DeliveredFileNotFoundError, match="(?s)expected one modified after .* clock_skew"):
        load(folder, not_before=ago(0), wait=FileWait(timeout=0.2, poll_interval=0.05))


def test_the_skew_of_the_clock_can_be_set() -> None:
    folder = Folder()
    folder.put("trends.csv", CONTENT, ago(3_600))
    wait = FileWait(timeout=1, poll_interval=0.02, stable_for=0.02, incomplete_for=0.1, clock_skew=4_000)
    assert load(folder, not_before=ago(0), wait=wait).content == CONTENT
    folder.put("trends.csv", CONTENT, ago(120))
    with pytest.raises(DeliveredFileNotFoundError):
        load(folder, not_before=ago(0), wait=FileWait(timeout=0.2, poll_interval=0.05, clock_skew=60))


@pytest.mark.parametrize("new_name", ["trends.csv", "trends-20261124120200.csv"])
@pytest.mark.parametrize("at_call", [1, 4])
def test_a_name_exported_again_in_minutes_is_read_from_the_new_file(new_name: str, at_call: int) -> None:
    """The old file is within the skew of the clock, and the new one may arrive later."""

    def deliver(number: int, call: str) -> None:
        if number == at_call:
            folder.put(new_name, CONTENT)

    folder = Folder(before=deliver)
    folder.put("trends-20261124120000.csv" if new_name != "trends.csv" else new_name, b"old,\nnew,1\n", ago(120))
    assert load(folder, not_before=ago(0)).content == CONTENT


def test_a_file_of_a_clock_that_is_behind_is_read_after_a_while() -> None:
    folder = Folder()
    folder.put("trends.csv", CONTENT, ago(120))
    started = time.monotonic()
    assert load(folder, not_before=ago(0)).content == CONTENT
    assert QUICK.incomplete_for <= time.monotonic() - started < QUICK.timeout


def test_two_old_files_do_not_prevent_a_new_one() -> None:
    def deliver(number: int, call: str) -> None:
        if number == 5:
            folder.put("trends-20261124120300.csv", CONTENT)

    folder = Folder(before=deliver)
    folder.put("trends-20261124120000.csv", b"old,", ago(200))
    folder.put("trends-20261124120100.csv", b"old,", ago(100))
    assert load(folder, not_before=ago(0)).content == CONTENT


def test_two_candidates_are_an_error_at_once() -> None:
    folder = Folder()
    folder.put("trends.csv", CONTENT)
    folder.put("trends(1).csv", CONTENT)
    started = time.monotonic()
    with pytest.raises(AmbiguousFileError, match=r"trends\(1\)\.csv, trends\.csv"):
        load(folder)
    assert time.monotonic() - started < 1


def test_a_copy_that_is_renamed_is_not_ambiguous() -> None:
    """Some servers rename by copying: both names exist for a moment."""

    def finish(number: int, call: str) -> None:
        if call == "files":
            folder.files.pop("trends-1.csv", None) if folder.calls.count("files") == 2 else None

    folder = Folder(before=finish)
    folder.put("trends.csv", CONTENT)
    folder.put("trends-1.csv", CONTENT)
    assert load(folder).path == "trends.csv"


def test_a_second_part_that_arrives_later_is_an_error() -> None:
    def deliver(number: int, call: str) -> None:
        if number == 8:
            folder.put("trends-2.csv", b"new,2\n")

    folder = Folder(before=deliver)
    folder.put("trends-1.csv", b"audience,2026-11-10\nvip,1\n")
    with pytest.raises(AmbiguousFileError, match="parts=True"):
        load(folder, accepts_incomplete=True)


def test_parts_are_read_as_one_stream_without_repeated_headers() -> None:
    def deliver(number: int, call: str) -> None:
        if number == 8:
            folder.put("trends-2.csv", b"\xef\xbb\xbfaudience,2026-11-10\r\nnew,2\r\n")

    folder = Folder(before=deliver)
    folder.put("trends-1.csv", b"audience,2026-11-10\nvip,1\n")
    folder.put("trends-3.csv", gzip.compress(b"audience,2026-11-10\na,3\n") + gzip.compress(b"b,4\n"))
    found = load(folder, parts=True)
    assert found.content == b"audience,2026-11-10\nvip,1\nnew,2\r\na,3\nb,4\n"
    assert found.path == "trends-1.csv"


def test_a_part_whose_last_line_is_not_ended_is_incomplete() -> None:
    folder = Folder()
    folder.put("trends-1.csv", b"audience,2026-11-10\nvip,6")
    folder.put("trends-2.csv", b"new,2\n")
    with pytest.raises(IncompleteFileError, match=r"Part 'trends-1\.csv' of the file ends without a newline"):
        load(folder, parts=True)


def test_parts_without_a_header_are_read_as_they_are() -> None:
    folder = Folder()
    folder.put("trends-1-of-2.csv", CONTENT)
    folder.put("trends-2-of-2.csv", b"last,5\n")
    with open_delivered_file(MemoryDestination(folder), "trends", not_before=None, file_wait=QUICK, parts=True) as (
        file,
        stream,
    ):
        assert stream.read(5) == CONTENT[:5]
        assert stream.read() == CONTENT[5:] + b"last,5\n"
        assert stream.read() == b""
    assert file.size == len(CONTENT) + 7


def test_parts_in_an_archive_are_rejected() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("trends.csv", CONTENT)
    folder = Folder()
    folder.put("trends-1.zip", archive.getvalue())
    folder.put("trends-2.zip", archive.getvalue())
    with pytest.raises(DeliveryError, match="Cannot join part 'trends-1.zip': it is a ZIP archive"):
        load(folder, parts=True)


def test_a_truncated_part_is_read_again() -> None:
    def finish(number: int, call: str) -> None:
        if folder.calls.count("files") == 6:
            folder.put("trends-2.csv.gz", gzip.compress(b"new,2\n"))

    folder = Folder(before=finish)
    folder.put("trends-1.csv.gz", gzip.compress(b"audience,2026-11-10\n"))
    folder.put("trends-2.csv.gz", gzip.compress(b"new,2\n")[:-4])
    assert load(folder, parts=True).content == b"audience,2026-11-10\nnew,2\n"


def test_a_missing_part_is_an_error_that_lists_the_others() -> None:
    folder = Folder()
    folder.put("trends-1-of-2.csv", CONTENT)
    with pytest.raises(DeliveredFileNotFoundError, match=r"Files there \(1\): trends-1-of-2.csv"):
        load(folder, parts=True, wait=FileWait(timeout=0.2, poll_interval=0.05))


def test_a_file_that_grows_after_it_was_stable_is_read_again() -> None:
    def grow(number: int, call: str) -> None:
        if call == "files" and folder.calls.count("files") == 6:
            folder.put("trends.csv", CONTENT)

    folder = Folder(before=grow)
    folder.put("trends.csv", CONTENT[:24])
    assert load(folder).content == CONTENT


def test_a_file_that_changes_during_a_read_is_read_again() -> None:
    def grow(number: int, call: str) -> None:
        if call == "open" and folder.calls.count("open") == 1:
            folder.put("trends.csv", CONTENT)

    folder = Folder(before=grow)
    folder.put("trends.csv", CONTENT[:24])
    assert load(folder).content == CONTENT
    assert folder.calls.count("open") == 2


@pytest.mark.parametrize("changes", [True, False])
def test_a_content_that_cannot_be_read_is_read_again_if_it_changed(changes: bool) -> None:
    def replace(number: int, call: str) -> None:
        if changes and call == "read" and folder.calls.count("read") == 1:
            folder.put("trends.csv", CONTENT)

    def parse(file: DeliveredFile, stream: BinaryIO) -> Rows:
        found = rows(file, stream)
        if found.incomplete:
            raise DeliveryError("Line 2 has 1 cell.")
        return found

    folder = Folder(before=replace)
    folder.put("trends.csv", CONTENT[:24])
    if changes:
        assert load(folder, read=parse).content == CONTENT
    else:
        with pytest.raises(DeliveryError, match="Line 2 has 1 cell"):
            load(folder, read=parse)


def test_a_file_that_always_changes_is_an_error_that_a_retry_can_help() -> None:
    def replace(number: int, call: str) -> None:
        if call == "open":
            folder.put("trends.csv", CONTENT + b"x" * number)

    folder = Folder(before=replace)
    folder.put("trends.csv", CONTENT)
    with pytest.raises(DeliveredFileNotFoundError) as failed:
        load(folder, wait=FileWait(timeout=0.5, poll_interval=0.02, stable_for=0.02))
    assert failed.value.retry_helps


def test_a_read_that_raises_incomplete_is_repeated() -> None:
    def strict(file: DeliveredFile, stream: BinaryIO) -> Rows:
        found = rows(file, stream)
        if found.incomplete:
            raise found.incomplete
        return found

    def grow(number: int, call: str) -> None:
        if folder.calls.count("files") == 6:
            folder.put("trends.csv", CONTENT)

    folder = Folder(before=grow)
    folder.put("trends.csv", CONTENT[:24])
    assert load(folder, read=strict).content == CONTENT
    folder.put("trends.csv", CONTENT[:24])
    folder.before = lambda number, call: None
    with pytest.raises(IncompleteFileError, match="lacks 1 requested audience"):
        load(folder, read=strict, accepts_incomplete=True, wait=FileWait(timeout=0.3, poll_interval=0.02, stable_for=0))


def test_replaced_contents_are_closed() -> None:
    def grow(number: int, call: str) -> None:
        if folder.calls.count("files") == 8:
            folder.put("trends.csv", CONTENT)

    opened: list[Rows] = []

    def record(file: DeliveredFile, stream: BinaryIO) -> Rows:
        opened.append(rows(file, stream))
        return opened[-1]

    folder = Folder(before=grow)
    folder.put("trends.csv", CONTENT[:24])
    load(folder, read=record, accepts_incomplete=True, wait=FileWait(timeout=2, poll_interval=0.02, stable_for=0.02))
    assert [one.is_closed for one in opened] == [True, False]


def test_an_accepted_incomplete_content_stays_open() -> None:
    folder = Folder()
    folder.put("trends.csv", CONTENT[:24])
    found = load(folder, accepts_incomplete=True)
    assert not found.is_closed
    assert found.incomplete


@pytest.mark.parametrize("call", ["connect", "files", "open", "read"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_broken_connection_is_opened_again(call: str, times: int) -> None:
    def break_down(number: int, name: str) -> None:
        if name == call and folder.calls.count(call) <= times:
            raise DestinationUnreachableError("The connection broke.")

    folder = Folder(before=break_down)
    folder.put("trends.csv", CONTENT)
    assert load(folder).content == CONTENT
    assert folder.calls.count("connect") == times + 1


def test_a_read_is_repeated_from_the_start() -> None:
    def break_down(number: int, name: str) -> None:
        if name == "read" and folder.calls.count("read") == 2:
            raise DestinationUnreachableError("The connection broke.")

    folder = Folder(before=break_down)
    folder.put("trends.csv", CONTENT)
    assert load(folder).content == CONTENT
    assert folder.calls.count("open") == 2


def test_a_connection_that_stays_broken_is_an_error_in_time() -> None:
    def break_down(number: int, name: str) -> None:
        raise DestinationUnreachableError("The connection broke.")

    started = time.monotonic()
    with pytest.raises(DestinationUnreachableError, match="The connection broke"):
        load(Folder(before=break_down), wait=FileWait(timeout=0.3, poll_interval=0.05))
    assert 0.2 < time.monotonic() - started < 2


def test_a_rejection_is_final_at_once() -> None:
    def reject(number: int, name: str) -> None:
        raise DestinationAccessError("530 Login incorrect.")

    folder = Folder(before=reject)
    with pytest.raises(DestinationAccessError, match="530 Login incorrect"):
        load(folder)
    assert folder.calls == ["connect"]


class OurError(Exception):
    pass


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), EOFError("ours"), OurError("database")])
def test_an_error_of_our_own_is_raised_as_it_is(error: Exception) -> None:
    def fail(file: DeliveredFile, stream: BinaryIO) -> Rows:
        raise error

    folder = Folder()
    folder.put("trends.csv", CONTENT)
    with pytest.raises(type(error)) as raised:
        load(folder, read=fail)
    assert raised.value is error
    with (
        pytest.raises(type(error)) as raised,
        open_delivered_file(MemoryDestination(folder), "trends", not_before=None, file_wait=QUICK),
    ):
        raise error
    assert raised.value is error
    assert folder.calls.count("close") == folder.calls.count("connect") == 2
    assert not any(call.startswith("error") for call in folder.calls)


def test_an_unknown_size_is_counted() -> None:
    folder = Folder(reports_size=False, reports_time=False)
    folder.put("trends.csv", CONTENT)
    assert load(folder).content == CONTENT
    with open_delivered_file(MemoryDestination(folder), "trends", not_before=None, file_wait=QUICK) as (file, _):
        assert file.size == len(CONTENT)


def test_a_file_of_unknown_size_is_read_when_it_stops_growing() -> None:
    def grow(number: int, name: str) -> None:
        if name == "files" and (size := folder.calls.count("files")) < 6:
            folder.put("trends.csv", CONTENT[: 4 * size])
        elif name == "files":
            folder.put("trends.csv", CONTENT)

    folder = Folder(before=grow, reports_size=False, reports_time=False)
    assert load(folder).content == CONTENT


def test_a_file_of_unknown_size_that_is_cut_short_is_read_again() -> None:
    def cut(number: int, name: str) -> None:
        if name == "open":
            folder.put("trends.csv", CONTENT[:24] if folder.calls.count("open") == 3 else CONTENT)

    folder = Folder(before=cut, reports_size=False, reports_time=False)
    folder.put("trends.csv", CONTENT)
    assert load(folder).content == CONTENT


def test_an_error_of_the_opened_stream_is_the_destinations() -> None:
    def break_down(number: int, name: str) -> None:
        if name == "read":
            raise OSError("reset by peer")

    folder = Folder(before=break_down)
    folder.put("trends.csv", CONTENT)
    with (
        open_delivered_file(MemoryDestination(folder), "trends", not_before=None, file_wait=QUICK) as (_, stream),
        pytest.raises(DestinationUnreachableError, match="reset by peer"),
    ):
        stream.read()


@pytest.mark.parametrize(
    ("error", "retry_helps"),
    [
        (AmbiguousFileError("x"), False),
        (DestinationAccessError("x"), False),
        (DestinationUnreachableError("x"), True),
        (FileChangedError("x"), True),
    ],
)
def test_each_error_states_whether_a_retry_helps(error: CordialError, retry_helps: bool) -> None:
    assert error.retry_helps == retry_helps
