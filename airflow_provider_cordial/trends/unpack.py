"""Unpack a delivered file that is compressed: gzip, or a zip with one member, recognized by its first bytes."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, cast

from airflow_provider_cordial.trends.csv import IncompleteTrendsError, TrendsCsvError

#: Bytes of a zip that stay in memory; more go to a temporary file.
IN_MEMORY = 4 << 20

#: A file that unpacks to more than ``MAX_RATIO`` times its size is rejected once it exceeds ``MIN_SUSPECT`` bytes. Even
#: sizes that are all 0 do not come near both.
MAX_RATIO = 200
MIN_SUSPECT = 256 << 20

_BLOCK = 1 << 16

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PAR1": "Parquet", b"7z\xbc\xaf": "7z"}
_LONGEST = 6


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes:
        """Return at most that many bytes, and none at the end."""


@contextmanager
def unpacked(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the content of a file: unpacked if it is compressed, and as it is otherwise. Memory stays flat.

    :param stream: read once, to its end.
    :raises IncompleteTrendsError: the compressed file is truncated; also while it is read.
    :raises TrendsCsvError: it is corrupt, a zip without exactly one member, or compressed in another way; also while it
        is read.
    """
    source = _Source(stream)
    if source.start.startswith(_GZIP):
        yield cast("BinaryIO", _Bounded(_Gunzip(source), lambda: source.size))
    elif source.start.startswith(_ZIP):
        with _open_member(source) as member:
            yield cast("BinaryIO", _Bounded(member, lambda: source.size))
    else:
        for start, name in _OTHERS.items():
            if source.start.startswith(start):
                msg = f"The file is not CSV but {name}. Deliver it as CSV, plain, as gzip, or as a zip of one file."
                raise TrendsCsvError(msg)
        yield cast("BinaryIO", source)


class _Source:
    """A stream whose first bytes are known, and which counts what was read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0
        start = b""
        while len(start) < _LONGEST and (data := stream.read(_LONGEST - len(start))):
            start += data
        self.start = self._rest = start

    def read(self, size: int = -1, /) -> bytes:
        if self._rest:
            data, self._rest = self._rest, b""
        else:
            data = self._stream.read(size)
        self.size += len(data)
        return data


class _Bounded:
    """A stream that rejects a file made to fill memory or a disk.

    :param packed: returns how many bytes of the compressed file were read.
    """

    def __init__(self, stream: _Readable, packed: Callable[[], int]) -> None:
        self._stream = stream
        self._packed = packed
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._stream.read(size)
        except (zlib.error, zipfile.BadZipFile) as error:
            msg = f"The compressed file is corrupt: {error}. Export it again."
            raise TrendsCsvError(msg) from None
        except EOFError:
            raise _truncated() from None
        self._size += len(data)
        if self._size > MIN_SUSPECT and self._size > MAX_RATIO * self._packed():
            msg = (
                f"The compressed file of {self._packed():,} bytes unpacks to more than {self._size:,}: this is not an "
                "export. Check what was delivered."
            )
            raise TrendsCsvError(msg)
        return data


class _Gunzip:
    """The content of a gzip stream, at most as many bytes at a time as are asked for."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._member = zlib.decompressobj(wbits=31)
        #: What was read and not yet unpacked.
        self._packed = b""

    def read(self, size: int = -1, /) -> bytes:
        while not self._member.eof or self._find_next_member():
            packed = self._packed or self._source.read(_BLOCK)
            # Also without more of the file: the rest of the last block may not have fitted.
            data = self._member.decompress(packed, max(size, 0))
            self._packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if data:
                return data
            if not packed and not self._member.eof:
                raise _truncated()
        return b""

    def _find_next_member(self) -> bool:
        """Return whether another gzip stream follows, as in concatenated files; zeros are padding."""
        while not (packed := self._packed.lstrip(b"\0")):
            self._packed = self._source.read(_BLOCK)
            if not self._packed:
                return False
        self._packed = packed
        self._member = zlib.decompressobj(wbits=31)
        return True


@contextmanager
def _open_member(source: _Source) -> Iterator[_Readable]:
    # The directory of a zip is at its end.
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, prefix="cordial-") as file:
        while data := source.read(_BLOCK):
            file.write(data)
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise _truncated() from None
        with archive:
            names = [one.filename for one in archive.infolist() if not _is_companion(one)]
            if len(names) != 1:
                shown = ", ".join(repr(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
                msg = f"The zip has {len(names)} files: expected 1. It contains {shown or 'nothing'}."
                raise TrendsCsvError(msg)
            try:
                member = archive.open(names[0])
            except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
                msg = f"Cannot read {names[0]!r} of the zip: {error}. Deliver it without a password, as deflate."
                raise TrendsCsvError(msg) from None
            with member:
                yield member


def _is_companion(info: zipfile.ZipInfo) -> bool:
    return info.is_dir() or info.filename.startswith("__MACOSX/")


def _truncated() -> IncompleteTrendsError:
    return IncompleteTrendsError("The compressed file ends before its content does.")
