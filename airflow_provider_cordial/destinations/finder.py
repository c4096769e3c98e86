"""Find the delivered file, wait until it is complete, and open or read it: the same for every destination.

The exact name of the file is not documented: an export's name "defines the export file name", and an extension, a time,
or the job id may follow it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol, TypeVar, cast

from airflow_provider_cordial.destinations.base import DeliveredFile, Destination, Reader
from airflow_provider_cordial.destinations.file_wait import FileWait
from airflow_provider_cordial.exceptions import DeliveredFileNotFoundError, IncompleteFileError

log = logging.getLogger(__name__)

#: The server's clock may be behind ours.
CLOCK_SKEW = timedelta(minutes=5)

#: Seconds between two log lines of a wait.
LOG_INTERVAL = 60.0

_MAX_LISTED = 10


@contextmanager
def open_delivered_file(
    destination: Destination, name: str, *, not_before: datetime | None, path: str | None = None, file_wait: FileWait
) -> Iterator[tuple[DeliveredFile, BinaryIO]]:
    """Wait for an export's file, and open it; for a file whose content shows whether it is complete, see below.

    :param name: the export's name.
    :param not_before: the moment of the submission: an older file belongs to another export. None if the name is unique
        to the submission.
    :param path: the exact path of the file, if it is known.
    :raises DeliveredFileNotFoundError: it did not arrive in time; the message lists the files in the folder.
    :raises DestinationUnreachableError: the connection or the login failed, or a read stalled.
    """
    with destination.reader(timeout=file_wait.read_timeout) as reader:
        search = _Search(reader, name, _oldest(not_before), path, destination.file_path)
        file = _wait(search, file_wait, time.monotonic() + file_wait.timeout)
        log.info("Found %s of %d bytes", file.path, file.size)
        with reader.open(file.path) as stream:
            yield file, cast("BinaryIO", _CompleteStream(stream, file))


class Content(Protocol):
    """What was read from a file."""

    @property
    def incomplete(self) -> IncompleteFileError | None:
        """What the file lacks so far; None if it is complete."""

    def close(self) -> None:
        """Release it: the file will be read again."""


_C = TypeVar("_C", bound=Content)


def read_delivered_file(
    destination: Destination,
    name: str,
    read: Callable[[DeliveredFile, BinaryIO], _C],
    *,
    not_before: datetime | None,
    path: str | None = None,
    file_wait: FileWait,
    accepts_incomplete: bool = False,
) -> _C:
    """Wait for an export's file, read it, and read it again while it may still be growing.

    More parameters and errors: see ``open_delivered_file``.

    :param read: reads the whole stream; called again if the file changes after it was incomplete. It may also raise an
        ``IncompleteFileError``: then the file is never accepted as it is.
    :param accepts_incomplete: return an incomplete file once it is unchanged for ``file_wait.incomplete_for``, also
        after the timeout: a file that arrives late has the same time to grow.
    :raises IncompleteFileError: it was still incomplete at the timeout.
    """
    with destination.reader(timeout=file_wait.read_timeout) as reader:
        search = _Search(reader, name, _oldest(not_before), path, destination.file_path)
        deadline = time.monotonic() + file_wait.timeout
        seen: DeliveredFile | None = None
        content: _C | None = None
        error: IncompleteFileError | None = None
        since = 0.0
        while True:
            file = _wait(search, file_wait, deadline, seen=seen)
            if file != seen:
                log.info("Found %s of %d bytes", file.path, file.size)
                if content:
                    content.close()
                try:
                    with reader.open(file.path) as stream:
                        content = read(file, cast("BinaryIO", _CompleteStream(stream, file)))
                    error = content.incomplete
                except IncompleteFileError as raised:
                    content, error = None, raised
                if content and error is None:
                    return content
                seen, since = file, time.monotonic()
                log.info("%s It may still be growing; reading it again when it changes", error)
            if content and accepts_incomplete:
                if time.monotonic() - since >= file_wait.incomplete_for:
                    return content
            elif error and time.monotonic() + file_wait.poll_interval > deadline:
                if content:
                    content.close()
                raise error
            time.sleep(file_wait.poll_interval)


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for one file: at a known path, or by its name in the folder."""

    reader: Reader
    name: str
    not_before: datetime | None
    path: str | None
    likely_path: str | None

    @property
    def wanted(self) -> str:
        """What to search for, in words."""
        return f"file {self.path!r}" if self.path else f"file named {self.name!r} (with or without a suffix)"

    def run(self) -> tuple[DeliveredFile | None, list[DeliveredFile]]:
        """Return the file if it is there, and all files in the folder."""
        exact = self.path or self.likely_path
        known = self.reader.stat(exact) if exact else None
        files = [*([known] if known else ()), *(() if self.path else self.reader.files())]
        if known and is_recent(known, self.not_before):
            return known, files
        return choose_file(files, self.name, self.not_before), files


class _CompleteStream:
    """A stream that raises an error unless it has the size that the file had when it was found."""

    def __init__(self, stream: BinaryIO, file: DeliveredFile) -> None:
        self._stream = stream
        self._file = file
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._read += len(data)
        if self._read > self._file.size or (size != 0 and not data and self._read < self._file.size):
            msg = (
                f"File {self._file.path!r} changed, or its transfer was cut short: expected {self._file.size} bytes, "
                f"read {self._read}. Retry the task."
            )
            raise DeliveredFileNotFoundError(msg)
        return data


def _wait(search: _Search, file_wait: FileWait, deadline: float, *, seen: DeliveredFile | None = None) -> DeliveredFile:
    """Return the file once it is stable.

    :param seen: the file as it was stable before.
    """
    log_at = time.monotonic()
    previous = seen
    while True:
        found, files = search.run()
        # A server that buffers an upload lists an empty file until it ends; a CSV has at least a header.
        if found is not None and found == previous and found.size:
            return found
        pause = file_wait.stable_for if found is not None else file_wait.poll_interval
        if time.monotonic() + pause > deadline:
            raise _not_found(search, found, files, file_wait)
        if time.monotonic() >= log_at:
            log_at += LOG_INTERVAL
            state = f"{found.path} of {found.size} bytes is incomplete" if found else _list_files(files)
            log.info("Waiting for the %s, up to %g s: %s", search.wanted, file_wait.timeout, state)
        previous = found
        time.sleep(pause)


def _oldest(not_before: datetime | None) -> datetime | None:
    return not_before - CLOCK_SKEW if not_before else None


def is_recent(file: DeliveredFile, not_before: datetime | None) -> bool:
    """Return whether a file is not older than a moment; None if its time does not matter."""
    return not_before is None or file.modified >= not_before


def choose_file(files: list[DeliveredFile], name: str, not_before: datetime | None) -> DeliveredFile | None:
    """Return the newest file of an export in a folder, or None.

    A file belongs to the export if it has the export's name, alone, with an extension, or with a suffix after ``.``,
    ``-``, or ``_``. A name without a suffix is preferred, because a suffix may belong to another export's name.
    """
    ours = re.compile(rf"{re.escape(name)}(?P<suffix>[-_].*)?(\.[A-Za-z0-9]+)*")
    matches = [
        (match["suffix"] is None, file)
        for file in files
        if is_recent(file, not_before) and (match := ours.fullmatch(file.name))
    ]
    exact = [file for is_exact, file in matches if is_exact]
    return max(exact or [file for _, file in matches], key=lambda file: file.modified, default=None)


def _not_found(
    search: _Search, found: DeliveredFile | None, files: list[DeliveredFile], file_wait: FileWait
) -> DeliveredFileNotFoundError:
    if found is not None:
        state = "growing" if found.size else "empty"
        msg = f"File {found.path!r} was still {state} after {file_wait.timeout:g} s (now {found.size} bytes)."
        return DeliveredFileNotFoundError(msg)
    since = f": expected one modified after {search.not_before:%Y-%m-%d %H:%M:%S %Z}" if search.not_before else ""
    msg = (
        f"No {search.wanted} arrived within {file_wait.timeout:g} s{since}. {_list_files(files)}. "
        "Check the destination's path, and that Airflow and Cordial use the same folder. Set the file's exact path if "
        "it has another name."
    )
    return DeliveredFileNotFoundError(msg)


def _list_files(files: list[DeliveredFile]) -> str:
    latest = sorted(files, key=lambda file: file.modified, reverse=True)[:_MAX_LISTED]
    listing = ", ".join(f"{file.name} ({file.size} bytes, {file.modified:%Y-%m-%d %H:%M:%S %Z})" for file in latest)
    return f"Files there ({len(files)}): {listing or 'none'}"
