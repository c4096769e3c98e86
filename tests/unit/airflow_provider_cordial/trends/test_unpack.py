"""Compressed files: recognized by their content, read as a stream, and rejected if they are not what they should be."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
import zipfile
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cordial.trends import unpack
from airflow_provider_cordial.trends.csv import IncompleteTrendsError, TrendsCsvError
from airflow_provider_cordial.trends.unpack import unpacked

CSV = b"audience,2026-11-10\n" + b"".join(b"a%d,%d\n" % (n, n * 7919) for n in range(20_000))


def read(data: bytes | BinaryIO, size: int = 1 << 12) -> bytes:
    with unpacked(io.BytesIO(data) if isinstance(data, bytes) else data) as stream:
        return b"".join(iter(lambda: stream.read(size), b""))


def zipped(*names: str, content: bytes = CSV) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(CSV, id="plain"),
        pytest.param(gzip.compress(CSV), id="gzip"),
        pytest.param(gzip.compress(CSV[:999]) + gzip.compress(CSV[999:]), id="gzip-of-two-parts"),
        pytest.param(gzip.compress(CSV) + b"\0" * 512, id="gzip-with-padding"),
        pytest.param(gzip.compress(CSV[:5]) + gzip.compress(b"") + gzip.compress(CSV[5:]), id="gzip-with-empty-part"),
        pytest.param(zipped("trends.csv"), id="zip"),
        pytest.param(zipped("folder/", "folder/trends.csv", "__MACOSX/._trends.csv"), id="zip-with-companions"),
    ],
)
def test_the_content_of_a_file_is_read(data: bytes) -> None:
    assert read(data) == CSV


@pytest.mark.parametrize("data", [b"", b"a", b"\x1f", b"a,b"])
def test_short_files_are_not_compressed(data: bytes) -> None:
    assert read(data) == data


@given(st.binary(max_size=3000), st.integers(1, 500))
def test_gzip_of_anything_is_read_in_blocks_of_any_size(content: bytes, size: int) -> None:
    assert read(gzip.compress(content), size) == content


@pytest.mark.parametrize("whole", [gzip.compress(CSV), zipped("trends.csv")], ids=["gzip", "zip"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.9999])
def test_a_truncated_file_is_incomplete(whole: bytes, share: float) -> None:
    with pytest.raises(IncompleteTrendsError, match="ends before its content"):
        read(whole[: int(len(whole) * share)])


def test_a_gzip_stream_cut_before_a_part_is_incomplete() -> None:
    whole = gzip.compress(CSV[:999]) + gzip.compress(CSV[999:])
    with pytest.raises(IncompleteTrendsError):
        read(whole[: len(gzip.compress(CSV[:999])) + 1])


def corrupted(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(corrupted(gzip.compress(CSV), -6), "is corrupt", id="gzip-checksum"),
        pytest.param(corrupted(gzip.compress(CSV), 5000), "is corrupt", id="gzip-content"),
        pytest.param(gzip.compress(CSV) + b"audience", "is corrupt", id="gzip-with-a-tail"),
        pytest.param(corrupted(zipped("a.csv"), 5000), "is corrupt", id="zip-content"),
        pytest.param(zipped("a.csv", "b.csv"), "has 2 files: expected 1. It contains 'a.csv', 'b.csv'", id="two"),
        pytest.param(zipped(*(f"{n}.csv" for n in range(9))), "has 9 files: .* '4.csv', ...", id="nine"),
        pytest.param(zipped(), "has 0 files: expected 1. It contains nothing", id="none"),
        pytest.param(b"BZh91AY&SY", "not CSV but bzip2", id="bzip2"),
        pytest.param(b"PAR1\x15\x04\x15", "not CSV but Parquet", id="parquet"),
    ],
)
def test_other_files_are_rejected(data: bytes, text: str) -> None:
    with pytest.raises(TrendsCsvError, match="(?s)" + text.replace(". It", r"\.\sIt")):
        read(data)


def test_a_zip_with_a_password_is_rejected() -> None:
    data = bytearray(zipped("trends.csv"))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    with pytest.raises(TrendsCsvError, match="(?s)Cannot read 'trends.csv' of the zip: .*password"):
        read(bytes(data))


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped("a.csv", content=content)])
def test_a_file_made_to_fill_the_disk_is_rejected(pack: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MIN_SUSPECT", 1 << 20)
    packed = pack(b"\n" * (4 << 20))  # type: ignore[operator]
    with pytest.raises(TrendsCsvError, match="unpacks to more than"):
        read(packed)


def test_a_large_file_of_zeros_is_not_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MIN_SUSPECT", 1 << 16)
    content = b"".join(b"audience_%d" % (n * 7919) + b",0" * 31 + b"\n" for n in range(10_000))
    assert read(gzip.compress(content)) == content


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_memory_does_not_grow_with_a_compressed_file(kind: str) -> None:
    content = random.Random(1).randbytes(24 << 20)
    packed = gzip.compress(content, 1) if kind == "gzip" else zipped("a.csv", content=content)
    stream = io.BytesIO(packed)
    tracemalloc.start()
    with unpacked(stream) as plain:
        assert sum(len(data) for data in iter(lambda: plain.read(1 << 16), b"")) == len(content)
    assert tracemalloc.get_traced_memory()[1] < 12 << 20
    tracemalloc.stop()
