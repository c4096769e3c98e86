"""Streams of a delivered file: checked against its size, or joined from its parts."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain
from typing import BinaryIO, cast

from airflow_provider_cordial.destinations.base import DeliveredFile, Reader, SupportsRead
from airflow_provider_cordial.exceptions import DeliveryError, FileChangedError, IncompleteFileError

_CHUNK = 1 << 16

#: Bytes within which the first line of a part must end to be compared with that of the first part.
_MAX_LINE = 1 << 22

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class CompleteStream:
    """A stream that raises an error unless it has the size that the file had when it was found."""

    def __init__(self, stream: SupportsRead, file: DeliveredFile) -> None:
        self._stream = stream
        self._file = file
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._read += len(data)
        expected = self._file.size
        is_short = expected is not None and size != 0 and not data and self._read < expected
        if is_short or (expected is not None and self._read > expected):
            msg = (
                f"File {self._file.path!r} changed, or its transfer was cut short: expected {expected} bytes, "
                f"read {self._read}. Retry the task."
            )
            raise FileChangedError(msg)
        return data


def with_size(reader: Reader, file: DeliveredFile) -> DeliveredFile:
    """Return the file with its size, which is counted if the server does not report it."""
    if file.size is not None:
        return file
    with reader.open(file.path) as stream:
        return replace(file, size=sum(len(chunk) for chunk in _chunks(stream)))


@contextmanager
def open_files(reader: Reader, files: Sequence[DeliveredFile]) -> Iterator[BinaryIO]:
    """Open a file, or the parts of one as a single stream."""
    if len(files) == 1:
        with reader.open(files[0].path) as stream:
            yield cast("BinaryIO", CompleteStream(stream, files[0]))
    else:
        with closing(_joined(reader, files)) as chunks:
            yield cast("BinaryIO", _ChunkStream(chunks))


class _ChunkStream:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = bytearray()

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._buffer) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._buffer += chunk
        end = len(self._buffer) if size < 0 else size
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        return data


def _joined(reader: Reader, files: Sequence[DeliveredFile]) -> Generator[bytes]:
    """Yield the content of the parts, decompressed; a header line that a part repeats is left out."""
    header: bytes | None = None
    previous, ends_a_line = "", True
    for file in files:
        with reader.open(file.path) as stream:
            chunks = _decompressed(_chunks(CompleteStream(stream, file)), file)
            start = _first_line(chunks)
            line, _, rest = start.partition(b"\n")
            line = line.rstrip(b"\r").removeprefix(_BYTE_ORDER_MARK)
            if header is None:
                header = line
            elif line == header:
                start = rest
            else:
                start = start.removeprefix(_BYTE_ORDER_MARK)
            if start and not ends_a_line:
                # Its last number may be cut off.
                msg = f"Part {previous!r} of the file ends without a newline."
                raise IncompleteFileError(msg)
            previous = file.path
            for chunk in chain((start,), chunks):
                if chunk:
                    yield chunk
                    ends_a_line = chunk.endswith(b"\n")


def _first_line(chunks: Iterator[bytes]) -> bytes:
    """Take chunks until they contain a line end."""
    start = b""
    for chunk in chunks:
        start += chunk
        if b"\n" in chunk or len(start) > _MAX_LINE:
            break
    return start


def _chunks(stream: SupportsRead) -> Iterator[bytes]:
    return iter(lambda: stream.read(_CHUNK), b"")


def _decompressed(chunks: Iterator[bytes], file: DeliveredFile) -> Iterator[bytes]:
    first = next(chunks, b"")
    if first.startswith(_ZIP):
        msg = f"Cannot join part {file.path!r}: it is a ZIP archive. Deliver parts as plain or gzip files."
        raise DeliveryError(msg)
    if not first.startswith(_GZIP):
        yield first
        yield from chunks
        return
    member = zlib.decompressobj(wbits=31)
    for chunk in chain((first,), chunks):
        data = chunk
        while data:
            yield member.decompress(data)
            data = member.unused_data
            if data:
                member = zlib.decompressobj(wbits=31)
    if not member.eof:
        msg = f"Compressed file {file.path!r} is cut short. Retry the task."
        raise FileChangedError(msg)
