"""Find the delivered file, wait until it is complete, and open or read it: the same for every destination."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Generic, Literal, Protocol, Self, TypeVar

from airflow_provider_cordial._compat import AirflowNotFoundException
from airflow_provider_cordial.client.airflow_connections import missing_connection
from airflow_provider_cordial.destinations.base import DeliveredFile, Destination, Reader
from airflow_provider_cordial.destinations.file_names import CSV, choose_files, likely_extensions, parse_file_name
from airflow_provider_cordial.destinations.file_wait import FileWait
from airflow_provider_cordial.destinations.streams import CompleteStream, open_files, with_size
from airflow_provider_cordial.exceptions import (
    AmbiguousFileError,
    DeliveredFileNotFoundError,
    DeliveryError,
    DestinationAccessError,
    DestinationUnreachableError,
    FileChangedError,
    FolderNotListedError,
    IncompleteFileError,
)

log = logging.getLogger(__name__)

#: Seconds between two log lines of a wait.
LOG_INTERVAL = 60.0

#: Servers report times in whole seconds, some of them rounded down to an even one.
_ROUNDING = timedelta(seconds=2)

_MAX_LISTED = 10
_MAX_NAMES = 50

_CHUNK = 1 << 20

_T = TypeVar("_T")


@contextmanager
def open_delivered_file(
    destination: Destination,
    name: str,
    *,
    not_before: datetime | None,
    has_unique_name: bool = False,
    path: str | None = None,
    file_wait: FileWait,
    parts: bool = False,
    formats: tuple[str, ...] = CSV,
) -> Iterator[tuple[DeliveredFile, BinaryIO]]:
    """Wait for an export's file, and open it; for a file whose content shows whether it is complete, see below.

    :param name: the export's name.
    :param not_before: the moment of the submission: an older file belongs to another export. None if no file can.
    :param has_unique_name: whether the name is unique to the submission: the age of a file of that name is irrelevant.
    :param path: the exact path of the file, if it is known.
    :param parts: read numbered files (``NAME-1.csv``, ``NAME-2.csv``) as one, in the order of their numbers. The path
        of the yielded file is that of the first part.
    :param formats: the extensions that the file may have: the export's ``file_formats``.
    :raises DeliveredFileNotFoundError: it did not arrive in time; the message lists the files in the folder.
    :raises AmbiguousFileError: several files could be the delivered one.
    :raises DestinationUnreachableError: the connection failed until the timeout, or broke during the read.
    :raises DestinationAccessError: the server rejects the login, or to list or read the files.
    """
    search = _Search(
        name, not_before, has_unique_name, path, destination.file_path, file_wait.clock_skew, parts, formats
    )
    with _Server(destination, file_wait) as server:
        files = _wait(server, search, file_wait)
        with ExitStack() as stack:
            stream = server.run(lambda reader: stack.enter_context(open_files(reader, files)))
            yield _as_one(files), stream


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
    has_unique_name: bool = False,
    path: str | None = None,
    file_wait: FileWait,
    accepts_incomplete: bool = False,
    parts: bool = False,
    formats: tuple[str, ...] = CSV,
) -> _C:
    """Wait for an export's file, read it, and read it again while it may still be growing.

    A connection that breaks is opened again until the timeout, also during a read. More parameters and errors: see
    ``open_delivered_file``.

    :param read: reads the whole stream; called again if the connection breaks, or if the file changes after it was
        incomplete. It may also raise an ``IncompleteFileError``: then the file is never accepted as it is.
    :param accepts_incomplete: return an incomplete file once it is unchanged for ``file_wait.incomplete_for``, also
        after the timeout: a file that arrives late has the same time to grow.
    :raises IncompleteFileError: it was still incomplete at the timeout.
    """

    def read_as_one(reader: Reader, files: tuple[DeliveredFile, ...]) -> _C:
        with open_files(reader, files) as stream:
            return read(_as_one(files), stream)

    search = _Search(
        name, not_before, has_unique_name, path, destination.file_path, file_wait.clock_skew, parts, formats
    )
    return _read_until_complete(destination, search, read_as_one, file_wait, accepts_incomplete=accepts_incomplete)


def download_delivered_files(
    destination: Destination,
    name: str,
    folder: Path,
    *,
    not_before: datetime | None,
    has_unique_name: bool = False,
    path: str | None = None,
    file_wait: FileWait,
    parts: bool = False,
    formats: tuple[str, ...] = CSV,
    may_be_empty: bool = False,
) -> tuple[DeliveredFile, ...]:
    """Wait for an export's file or its parts, and copy each of them to a local folder, byte for byte.

    Whether the content is complete is not known: the files are those that are unchanged for ``file_wait.stable_for``,
    and each has the size with which it was found. More parameters and errors: see ``open_delivered_file``.

    :param folder: receives each file under its name.
    :param may_be_empty: accept a file without content once it is unchanged for ``file_wait.incomplete_for``.
    :returns: the files, in the order of their numbers.
    """

    def download(reader: Reader, files: tuple[DeliveredFile, ...]) -> _Downloaded:
        for file in files:
            with reader.open(file.path) as stream, (folder / file.name).open("wb") as sink:
                shutil.copyfileobj(CompleteStream(stream, file), sink, _CHUNK)
        return _Downloaded(files)

    search = _Search(
        name,
        not_before,
        has_unique_name,
        path,
        destination.file_path,
        file_wait.clock_skew,
        parts,
        formats,
        may_be_empty,
    )
    return _read_until_complete(destination, search, download, file_wait).files


@dataclass(frozen=True, slots=True)
class _Downloaded:
    files: tuple[DeliveredFile, ...]
    incomplete: IncompleteFileError | None = None

    def close(self) -> None:
        """Keep the files, which the next download replaces."""


def _read_until_complete(
    destination: Destination,
    search: _Search,
    read: Callable[[Reader, tuple[DeliveredFile, ...]], _C],
    file_wait: FileWait,
    *,
    accepts_incomplete: bool = False,
) -> _C:
    with _Server(destination, file_wait) as server, ExitStack() as kept:
        incomplete: _Incomplete[_C] | None = None
        while True:
            try:
                files = _wait(server, search, file_wait, seen=incomplete.files if incomplete else ())
                if incomplete is None or files != incomplete.files:
                    kept.close()
                    result = _read(server, search, files, read)
                    if not isinstance(result, _Incomplete):
                        return result
                    incomplete = result
                    if incomplete.content:
                        kept.callback(incomplete.content.close)
                    log.info("%s It may still be growing; reading it again when it changes", incomplete.error.message)
            except FileChangedError as error:
                incomplete = None
                if not server.has_time():
                    raise
                log.info("%s Reading it again", error.message)
            else:
                content = incomplete.content if accepts_incomplete else None
                is_settled = time.monotonic() - incomplete.since >= file_wait.incomplete_for
                if content and is_settled:
                    kept.pop_all()
                    return content
                # A content may also be accepted after the timeout: a file that arrives late has the same time to grow.
                if content is None and not server.has_time():
                    raise incomplete.error
            server.pause()


@dataclass(frozen=True, slots=True)
class _Incomplete(Generic[_C]):
    """Files that lacked something when they were read.

    :param content: None if ``read`` raised the error.
    """

    files: tuple[DeliveredFile, ...]
    content: _C | None
    error: IncompleteFileError
    since: float


def _read(
    server: _Server,
    search: _Search,
    files: tuple[DeliveredFile, ...],
    read: Callable[[Reader, tuple[DeliveredFile, ...]], _C],
) -> _C | _Incomplete[_C]:
    try:
        content = server.run(lambda reader: read(reader, files))
    except IncompleteFileError as error:
        return _Incomplete(files, None, error, time.monotonic())
    except (DestinationUnreachableError, DestinationAccessError, FileChangedError):
        raise
    except DeliveryError as error:
        # What was read may be the start of one content and the end of another.
        if server.run(search.run).files == files:
            raise
        msg = f"File {files[0].path!r} changed while it was read ({error.message}). Retry the task."
        raise FileChangedError(msg) from error
    if content.incomplete is None:
        return content
    return _Incomplete(files, content, content.incomplete, time.monotonic())


class _Server:
    """A destination, connected to again when the connection breaks, until the timeout."""

    def __init__(self, destination: Destination, file_wait: FileWait) -> None:
        self._destination = destination
        self._file_wait = file_wait
        self._deadline = time.monotonic() + file_wait.timeout
        self._connection = ExitStack()
        self._reader: Reader | None = None
        self._log_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # An error of the block is not the destination's: its reader does not receive it.
        self._disconnect()

    def run(self, step: Callable[[Reader], _T]) -> _T:
        """Return what a step returns; it is repeated from its start if the connection breaks."""
        while True:
            try:
                if self._reader is None:
                    self._reader = self._connection.enter_context(
                        self._destination.reader(timeout=self._file_wait.read_timeout)
                    )
                return step(self._reader)
            except AirflowNotFoundException:
                conn_id = getattr(self._destination, "conn_id", "")
                raise missing_connection(conn_id, self._destination.conn_type or "<type>") from None
            except DestinationUnreachableError as error:
                self._disconnect()
                if not self.has_time():
                    raise
                if time.monotonic() >= self._log_at:
                    self._log_at = time.monotonic() + LOG_INTERVAL
                    log.warning("%s Connecting again, up to %g s", error.message, self._file_wait.timeout)
                self.pause()
            except BaseException:
                # A transfer may have stopped in its middle, and its connection cannot be used again.
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        self._reader = None
        self._connection.close()

    def has_time(self, pause: float | None = None) -> bool:
        """Return whether a pause, by default that between two listings, ends before the timeout."""
        return time.monotonic() + (self._file_wait.poll_interval if pause is None else pause) <= self._deadline

    def pause(self) -> None:
        time.sleep(self._file_wait.poll_interval)


@dataclass(frozen=True, slots=True)
class _Found:
    """The state of a search.

    :param files: the file, or its parts; empty if it is not there.
    :param listing: all files in the folder.
    :param is_doubtful: whether the files may belong to an earlier export, if the server's clock is right.
    :param problem: why no file was found, if the reason is known.
    """

    files: tuple[DeliveredFile, ...] = ()
    listing: Sequence[DeliveredFile] = ()
    is_doubtful: bool = False
    problem: AmbiguousFileError | FolderNotListedError | None = None

    @property
    def is_ambiguous(self) -> bool:
        return isinstance(self.problem, AmbiguousFileError)

    def equals(self, other: _Found) -> bool:
        """Return whether nothing has changed since another state."""
        return self.files == other.files and str(self.problem) == str(other.problem)


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for one file: at a known path, or by its name in the folder."""

    name: str
    not_before: datetime | None
    has_unique_name: bool
    path: str | None
    likely_path: str | None
    clock_skew: float
    parts: bool
    formats: tuple[str, ...] = CSV
    may_be_empty: bool = False

    @property
    def wanted(self) -> str:
        """What to search for, in words."""
        return f"file {self.path!r}" if self.path else f"file named {self.name!r} (with or without a suffix)"

    @property
    def uses_clock(self) -> bool:
        """Whether the time of the file decides: its path may be the same for every export."""
        exact = self.path or self.likely_path
        return not (self.has_unique_name and (not exact or exact.rpartition("/")[2].startswith(self.name)))

    def run(self, reader: Reader) -> _Found:
        exact, known, problem = self.path or self.likely_path, None, None
        try:
            known = reader.stat(exact) if exact else None
        except FolderNotListedError as error:
            problem = error
        files = [known] if known else []
        if known and self._age(known) != "old":
            return _Found((with_size(reader, known),), files, self._age(known) == "doubtful")
        if not self.path or problem:
            # Also for an exact path: a listing is refused with a reason.
            try:
                files += reader.files(self._matches)
            except FolderNotListedError as error:
                problem = error
                files += [] if self.path else self._likely_files(reader, error.folder)
        return _Found((), files, problem=problem) if self.path else self._choose(reader, files, problem)

    def _matches(self, file_name: str) -> bool:
        return not self.path and parse_file_name(file_name, self.name, self.formats) is not None

    def _likely_files(self, reader: Reader, folder: str) -> list[DeliveredFile]:
        """Return the files with a name that is likely, for a folder that is not listed."""
        found = []
        for extension in likely_extensions(self.formats):
            try:
                file = reader.stat(f"{folder}/{self.name}{extension}".lstrip("/" if not folder else ""))
            except FolderNotListedError:
                continue
            found += [file] if file else []
        return found

    def _choose(self, reader: Reader, files: list[DeliveredFile], problem: FolderNotListedError | None) -> _Found:
        ages = [(self._age(file), file) for file in files]
        new = [file for age, file in ages if age == "new"]
        try:
            if chosen := self._choose_files(new):
                return _Found(tuple(with_size(reader, file) for file in chosen), files)
        except AmbiguousFileError as error:
            return _Found((), files, problem=error)
        try:
            chosen = self._choose_files(file for age, file in ages if age != "old")
        except AmbiguousFileError as error:
            return _Found((), files, is_doubtful=True, problem=error)
        return _Found(tuple(with_size(reader, file) for file in chosen), files, bool(chosen), problem)

    def _choose_files(self, files: Iterable[DeliveredFile]) -> tuple[DeliveredFile, ...]:
        return choose_files(files, self.name, parts=self.parts, formats=self.formats)

    def _age(self, file: DeliveredFile) -> Literal["new", "doubtful", "old"]:
        """Return whether a file can be that of the submission.

        A file from shortly before it is doubtful: the server's clock is behind, or the file is an earlier export's.
        """
        if self.not_before is None or (self.has_unique_name and file.name.startswith(self.name)):
            return "new"
        if file.modified is None:
            return "old"
        skew = timedelta(seconds=self.clock_skew)
        if file.modified >= self.not_before - min(skew, _ROUNDING):
            return "new"
        return "doubtful" if file.modified >= self.not_before - skew else "old"


def _wait(
    server: _Server, search: _Search, file_wait: FileWait, *, seen: tuple[DeliveredFile, ...] = ()
) -> tuple[DeliveredFile, ...]:
    """Return the files once they are stable.

    :param seen: the files as they were stable before.
    """
    log_at = since = time.monotonic()
    previous = _Found(seen)
    while True:
        found = server.run(search.run)
        is_stable = found.equals(previous)
        if not is_stable:
            since = time.monotonic()
        pause = file_wait.stable_for if found.files or found.is_ambiguous else file_wait.poll_interval
        if found.is_doubtful and is_stable:
            pause = file_wait.poll_interval
        has_time = server.has_time(pause)
        is_settled = (
            not found.is_doubtful
            or (seen and found.files == seen)
            or time.monotonic() - since >= file_wait.incomplete_for
            or not has_time
        )
        if is_stable and is_settled and isinstance(found.problem, AmbiguousFileError):
            raise found.problem
        # A server that buffers an upload lists an empty file until it ends; a CSV has at least a header.
        has_content = all(file.size for file in found.files) or (
            search.may_be_empty and time.monotonic() - since >= file_wait.incomplete_for
        )
        if is_stable and is_settled and found.files and has_content:
            if found.files != seen:
                log.info("Found %s", ", ".join(f"{file.path} of {file.size} bytes" for file in found.files))
            return found.files
        if not has_time:
            raise _not_found(search, found, file_wait)
        if time.monotonic() >= log_at:
            log_at += LOG_INTERVAL
            log.info("Waiting for the %s, up to %g s: %s", search.wanted, file_wait.timeout, _describe(found))
        previous = found
        time.sleep(pause)


def _as_one(files: tuple[DeliveredFile, ...]) -> DeliveredFile:
    """Return the parts of a file as one file, at the path of the first."""
    if len(files) == 1:
        return files[0]
    times = [file.modified for file in files if file.modified]
    return replace(files[0], size=sum(file.size or 0 for file in files), modified=max(times, default=None))


def _not_found(search: _Search, found: _Found, file_wait: FileWait) -> DeliveredFileNotFoundError:
    if found.files:
        (file, *_) = [file for file in found.files if not file.size] or found.files
        state = "growing" if file.size else "empty"
        msg = f"File {file.path!r} was still {state} after {file_wait.timeout:g} s (now {file.size} bytes)."
        return DeliveredFileNotFoundError(msg)
    arrived = f"No {search.wanted} arrived within {file_wait.timeout:g} s"
    if isinstance(found.problem, FolderNotListedError):
        return FolderNotListedError(f"{arrived}. {found.problem}", folder=found.problem.folder)
    since = (
        f": expected one modified after {search.not_before.astimezone(UTC):%Y-%m-%d %H:%M:%S %Z}"
        if search.not_before and search.uses_clock
        else ""
    )
    advice = (
        "Check the destination's path, and that Airflow and Cordial use the same folder. Set the file's exact path if "
        "it has another name."
    )
    if since:
        advice += " If the file is there, the server's clock is wrong: give the export a unique name or set clock_skew."
    return DeliveredFileNotFoundError(f"{arrived}{since}. {_describe(found)}. {advice}")


def _describe(found: _Found) -> str:
    if found.problem:
        return str(found.problem)
    if not found.files:
        return f"Files there ({len(found.listing)}): {_list_files(found.listing)}"
    state = "may belong to an earlier export, waiting for a newer file" if found.is_doubtful else "is incomplete"
    return f"{_list_files(found.files)} {state}"


def _list_files(files: Sequence[DeliveredFile]) -> str:
    """Return the latest files in words; more of them if there are only names, of which any can be the latest."""
    oldest = datetime.min.replace(tzinfo=UTC)
    latest = sorted(files, key=lambda file: file.modified or oldest, reverse=True)
    shown = latest[: _MAX_LISTED if any(file.modified for file in files) else _MAX_NAMES]
    return ", ".join(map(_describe_file, shown)) or "none"


def _describe_file(file: DeliveredFile) -> str:
    facts = [f"{file.size} bytes"] if file.size is not None else []
    facts += [f"{file.modified:%Y-%m-%d %H:%M:%S %Z}"] if file.modified else []
    return f"{file.name} ({', '.join(facts)})" if facts else file.name
