"""Find the delivered file, wait until it is whole, and open it: the same for every destination.

The exact name of the file is not documented: an export's name "defines the export file name", and an extension, a time
or the job id may follow it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, cast

from airflow_provider_cordial.destinations.base import DeliveredFile, Destination, Reader
from airflow_provider_cordial.exceptions import DeliveredFileNotFoundError

log = logging.getLogger(__name__)

#: The server's clock may be behind ours.
CLOCK_SKEW = timedelta(minutes=5)

_SEEN_FILES_NAMED = 10


@dataclass(frozen=True, slots=True)
class FileWait:
    """How long to wait for a file; all in seconds.

    :param timeout: for the file to be there and whole.
    :param poll_interval: between two looks.
    :param stable_for: how long its size and time must stay the same.
    :param read_timeout: for a connection, and for a read that does not go on.
    """

    timeout: float = 600.0
    poll_interval: float = 5.0
    stable_for: float = 2.0
    read_timeout: float = 60.0


@contextmanager
def delivered_file(
    destination: Destination, name: str, *, not_before: datetime, path: str | None = None, file_wait: FileWait
) -> Iterator[tuple[DeliveredFile, BinaryIO]]:
    """Wait for an export's file, and open it.

    :param name: the export's name.
    :param not_before: the moment of the submission: an older file is of another export.
    :param path: the file's exact path, where the author knows it.
    :raises DeliveredFileNotFoundError: it did not come in time; the message lists what was seen instead.
    :raises DestinationUnreachableError: no connection, no login, or a stall.
    """
    with destination.reader(timeout=file_wait.read_timeout) as reader:
        file = _wait(_Search(reader, name, not_before - CLOCK_SKEW, path, destination.file_path), file_wait)
        log.info("Found %s of %d bytes", file.path, file.size)
        with reader.open(file.path) as stream:
            yield file, cast("BinaryIO", _Whole(stream, file))


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for: a file of that path, where it is known, and else one of that name in the folder."""

    reader: Reader
    name: str
    not_before: datetime
    path: str | None
    likely_path: str | None

    def look(self) -> tuple[DeliveredFile | None, list[DeliveredFile]]:
        """Return the file, and all that was seen."""
        exact = self.path or self.likely_path
        known = self.reader.stat(exact) if exact else None
        seen = [*([known] if known else ()), *(() if self.path else self.reader.files())]
        if known and known.modified >= self.not_before:
            return known, seen
        return newest(seen, self.name, self.not_before), seen


class _Whole:
    """A stream that is as long as the file was when it was found, or an error."""

    def __init__(self, stream: BinaryIO, file: DeliveredFile) -> None:
        self._stream = stream
        self._file = file
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._read += len(data)
        if self._read > self._file.size or (size != 0 and not data and self._read < self._file.size):
            msg = (
                f"{self._file.path!r} had {self._file.size} bytes when it was found, and {self._read} could be read: "
                "it changed, or the transfer was cut short. Try again."
            )
            raise DeliveredFileNotFoundError(msg)
        return data


def _wait(search: _Search, file_wait: FileWait) -> DeliveredFile:
    deadline = time.monotonic() + file_wait.timeout
    before: DeliveredFile | None = None
    while True:
        found, seen = search.look()
        # A server that keeps what it gets in a buffer shows an empty file meanwhile; a CSV has a header at least.
        if found is not None and found == before and found.size:
            return found
        pause = file_wait.stable_for if found is not None else file_wait.poll_interval
        if time.monotonic() + pause > deadline:
            raise _not_found(search, found, seen, file_wait)
        before = found
        time.sleep(pause)


def newest(files: list[DeliveredFile], name: str, not_before: datetime) -> DeliveredFile | None:
    """Return the export's file among those of a folder, or None.

    A file is the export's if it bears the export's name, alone, with an extension, or with a suffix after ``.``, ``-``
    or ``_``; the name alone wins over a suffix, which another export's name may be the cause of.
    """
    ours = re.compile(rf"{re.escape(name)}(?P<suffix>[-_].*)?(\.[A-Za-z0-9]+)*")
    matches = [
        (match["suffix"] is None, file)
        for file in files
        if file.modified >= not_before and (match := ours.fullmatch(file.name))
    ]
    alone = [file for is_alone, file in matches if is_alone]
    return max(alone or [file for _, file in matches], key=lambda file: file.modified, default=None)


def _not_found(
    search: _Search, found: DeliveredFile | None, seen: list[DeliveredFile], file_wait: FileWait
) -> DeliveredFileNotFoundError:
    if found is not None:
        what = "growing" if found.size else "empty"
        msg = f"{found.path!r} was still {what} after {file_wait.timeout:g} s (now {found.size} bytes)."
        return DeliveredFileNotFoundError(msg)
    wanted = f"file {search.path!r}" if search.path else f"file named {search.name!r}, with or without a suffix,"
    latest = sorted(seen, key=lambda file: file.modified, reverse=True)[:_SEEN_FILES_NAMED]
    listing = ", ".join(f"{file.name} ({file.size} bytes, {file.modified:%Y-%m-%d %H:%M:%S %Z})" for file in latest)
    msg = (
        f"After {file_wait.timeout:g} s there is still no {wanted} that is not older than "
        f"{search.not_before:%Y-%m-%d %H:%M:%S %Z}. Seen instead ({len(seen)} files): {listing or 'nothing'}. "
        "Check the destination's path, and that Airflow and Cordial see the same folder; give the file's exact path if "
        "it has another name."
    )
    return DeliveredFileNotFoundError(msg)
