"""A file against its export: the rows are kept under the requested names, and nothing else is accepted."""

from __future__ import annotations

import io
import tempfile
import tracemalloc
import unicodedata
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.completeness import ForeignTrendsError, find_missing, spool_rows
from airflow_provider_cordial.trends.csv import CsvFormat, TrendsCsvError, TrendsReader

TEN, ELEVEN = date(2026, 11, 10), date(2026, 11, 11)


def export(*audiences: str, start: date = TEN, end: date = ELEVEN) -> AudienceTrendsExport:
    destination = SftpDestination(conn_id="sftp_default", path="exports")
    return AudienceTrendsExport(
        name="trends", destination=destination, audiences=audiences, timeframe=Timeframe(start, end)
    )


def spool(text: str, *audiences: str, **options: Any) -> dict[str, list[int | None]]:
    reader = TrendsReader(io.BytesIO(text.encode()), CsvFormat(**options))
    rows = spool_rows(reader, export(*audiences))
    assert find_missing(rows, export(*audiences)) is None
    # Twice: a warehouse may need them again.
    first, second = ({row.audience: row.contacts for row in rows} for _ in range(2))
    assert first == second
    assert list(first) == rows.audiences
    assert sum(contacts.count(None) for contacts in first.values()) == rows.blanks
    rows.close()
    return first


HEADER = "audience,2026-11-10,2026-11-11\n"


@pytest.mark.parametrize(
    ("requested", "delivered"),
    [
        ("Käufer", unicodedata.normalize("NFD", "Käufer")),
        (unicodedata.normalize("NFD", "Käufer"), "Käufer"),
        ("vip", " vip "),
        (" vip ", "vip"),
        ("vip", "vip\u00a0"),
        ("vip gold", "vip\u00a0gold"),
        ("vip", "\ufeffvip\u200b"),
    ],
)
def test_rows_are_kept_under_the_requested_names(requested: str, delivered: str) -> None:
    assert spool(f"{HEADER}{delivered},1,\nnew,3,4\n", "new", requested) == {requested: [1, None], "new": [3, 4]}


def test_of_two_requested_names_the_exact_one_is_meant() -> None:
    with pytest.raises(TrendsCsvError, match="in lines 2 and 3"):
        spool(f"{HEADER}vip,1,2\nvip ,3,4\n", "vip", "vip ")
    with pytest.raises(ForeignTrendsError, match="audience 'vip"):
        spool(f"{HEADER}vip\u200b,1,2\n", "vip ", "vip\u00a0")


@pytest.mark.parametrize("name", ["Total", "TOTALS", "Grand Total", "Sum", "All audiences"])
def test_a_row_of_sums_is_named_with_its_option(name: str) -> None:
    text = f"{HEADER}vip,1,2\n{name},1,2\n"
    with pytest.raises(ForeignTrendsError) as rejected:
        spool(text, "vip")
    assert f"set CsvFormat(ignore_rows=({name!r},)) if the row is not an audience" in rejected.value.message
    assert spool(text, "vip", ignore_rows=(name,)) == {"vip": [1, 2]}


def test_another_audience_belongs_to_another_export() -> None:
    with pytest.raises(ForeignTrendsError) as rejected:
        spool(f"{HEADER}vip,1,2\nallies,1,2\n", "vip")
    assert "audience 'allies', which export 'trends' did not request: it belongs" in rejected.value.message
    assert "CsvFormat" not in rejected.value.message


@pytest.mark.parametrize("name", ["2024", "1e5", "None"])
def test_a_requested_name_may_have_the_form_of_another_value(name: str) -> None:
    assert spool(f"{HEADER}{name},1,2\n", name) == {name: [1, 2]}


class Endless:
    """A file of many rows that is never completely in memory."""

    def __init__(self, rows: int, days: int) -> None:
        self._lines = self._write(rows, days)
        self._rest = b""

    def _write(self, rows: int, days: int) -> Iterator[bytes]:
        yield ",".join(["audience", *(str(TEN + timedelta(days=n)) for n in range(days))]).encode() + b"\n"
        for n in range(rows):
            yield f"audience_{n}".encode() + b",1234567" * (days - 1) + b",\n"

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (line := next(self._lines, b"")):
            self._rest += line
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def test_memory_does_not_grow_with_the_rows() -> None:
    def peak(rows: int) -> int:
        requested = export(*(f"audience_{n}" for n in range(rows)), end=TEN + timedelta(days=365))
        tracemalloc.start()
        spooled = spool_rows(TrendsReader(Endless(rows, 366)), requested)  # type: ignore[arg-type]
        assert sum(1 for _ in spooled) == rows
        assert find_missing(spooled, requested) is None
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        spooled.close()
        return top

    # The rows beyond are in a temporary file; the names stay: about 300 bytes each.
    assert peak(6000) - peak(2000) < 4000 * 600


def test_an_error_leaves_no_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Watched(tempfile.SpooledTemporaryFile[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Watched)
    with pytest.raises(TrendsCsvError):
        spool(f"{HEADER}vip,1,2\nnew,many,2\nold,1,2\n", "vip", "new", "old")
    assert [file.closed for file in made] == [True]
