"""A destination in memory, which a test changes and breaks at will."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO, cast

from airflow_provider_cordial.destinations import Address, DeliveredFile, Destination
from airflow_provider_cordial.destinations.base import GuardedStream
from airflow_provider_cordial.exceptions import DestinationUnreachableError


@dataclass
class Folder:
    """The files of a folder, and what happens at each call.

    :param before: called with the number of the call and its name; it may change the files or raise.
    :param reports: what the server reports of its files.
    """

    before: Callable[[int, str], None] = lambda number, call: None
    reports_size: bool = True
    reports_time: bool = True
    files: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes, modified: datetime | None = None) -> None:
        self.files[name] = (content, modified or datetime.now(UTC))

    def call(self, name: str) -> None:
        self.calls.append(name)
        self.before(len(self.calls), name)


@dataclass(frozen=True, slots=True)
class MemoryDestination(Destination):
    """Not registered: it has no ``type`` of its own."""

    folder: Folder

    def address(self) -> Address:
        return Address(body={"type": "aws"}, uri="memory:")

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[MemoryReader]:
        folder = self.folder
        folder.call("connect")
        try:
            yield MemoryReader(folder)
        except BaseException as error:
            folder.calls.append(f"error {type(error).__name__}")
            raise
        finally:
            folder.calls.append("close")


class MemoryReader:
    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def files(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:
        self._folder.call("files")
        return [self._file(name) for name in self._folder.files]

    def stat(self, path: str) -> DeliveredFile | None:
        self._folder.call("stat")
        return self._file(path) if path in self._folder.files else None

    def _file(self, name: str) -> DeliveredFile:
        content, modified = self._folder.files[name]
        size = len(content) if self._folder.reports_size else None
        return DeliveredFile(name, size, modified if self._folder.reports_time else None)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        self._folder.call("open")
        stream = _Stream(self._folder, io.BytesIO(self._folder.files[path][0]))
        yield cast("BinaryIO", GuardedStream(stream, _guard))


class _Stream:
    def __init__(self, folder: Folder, content: io.BytesIO) -> None:
        self._folder = folder
        self._content = content

    def read(self, size: int = -1, /) -> bytes:
        self._folder.call("read")
        return self._content.read(min(size, 16) if size > 0 else size)


@contextmanager
def _guard() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DestinationUnreachableError(f"The memory broke: {error}.") from error
