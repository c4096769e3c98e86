"""The wide CSV: undocumented forms are accepted, and invalid files are rejected by line or column."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.exports.audience_trends import fold_name
from airflow_provider_cordial.trends.csv import (
    BLANK,
    MAX_COUNT,
    CsvFormat,
    IncompleteTrendsError,
    ReadRow,
    TrendsCsvError,
    TrendsReader,
)


def contacts(row: ReadRow) -> list[int | None]:
    assert row.blanks == row.counts.count(BLANK)
    return [None if count == BLANK else count for count in row.counts]


def read(data: bytes | str, zone: str | None = None, **options: Any) -> dict[str, dict[date, int | None]]:
    raw = data.encode() if isinstance(data, str) else data
    account_zone = ZoneInfo(zone) if zone else None
    reader = TrendsReader(io.BytesIO(raw), CsvFormat(**options), timezone=account_zone)
    return {row.audience: dict(zip(reader.days, contacts(row), strict=True)) for row in reader}


TEN, ELEVEN = date(2026, 11, 10), date(2026, 11, 11)


def test_a_plain_file() -> None:
    text = "audience,2026-11-10,2026-11-11\nvip,1,20\nnew,0,3\n"
    assert read(text) == {"vip": {TEN: 1, ELEVEN: 20}, "new": {TEN: 0, ELEVEN: 3}}


@pytest.mark.parametrize(
    ("data", "options"),
    [
        pytest.param(b"\xef\xbb\xbfaudience,2026-11-10\nvip,5\n", {}, id="byte-order-mark"),
        pytest.param(b"audience,2026-11-10\r\nvip,5\r\n", {}, id="crlf"),
        pytest.param(b"audience,2026-11-10\rvip,5\r", {}, id="cr"),
        pytest.param(b"audience,2026-11-10\nvip,5", {}, id="no-newline-at-the-end"),
        pytest.param(b'"audience","2026-11-10"\n"vip","5"\n', {}, id="everything-quoted"),
        pytest.param(
            b"\xff\xfe" + "audience,2026-11-10\nvip,5\n".encode("utf-16-le"), {"encoding": "utf-16"}, id="utf-16"
        ),
        pytest.param(b"audience;2026-11-10\nvip;5\n", {"delimiter": ";"}, id="semicolon"),
        pytest.param(b"audience,2026-11-10T00:00:00-08:00\nvip,5\n", {}, id="with-a-time"),
        pytest.param(b"audience,20261110\nvip,5\n", {}, id="compact-date"),
        pytest.param(b'audience,"Nov 10, 2026"\nvip,5\n', {}, id="month-name"),
        pytest.param(b"audience,11/10/2026\nvip,5\n", {"date_formats": ("%m/%d/%Y",)}, id="named-date-format"),
        pytest.param(b"2026-11-10,Audience\n5,vip\n", {"audience_column": "Audience"}, id="audience-column-named"),
        pytest.param(b"audience,2026-11-10\n\nvip, 5 \n\n", {}, id="blank-lines-and-blanks"),
    ],
)
def test_undocumented_forms_are_accepted(data: bytes, options: dict[str, Any]) -> None:
    assert read(data, **options) == {"vip": {TEN: 5}}


def test_names_with_special_characters_are_kept() -> None:
    text = 'audience,2026-11-10\n"Käufer, ""Gold""",1\n"two\nlines",2\n 山田 ,3\n'
    assert list(read(text)) == ['Käufer, "Gold"', "two\nlines", " 山田 "]


@pytest.mark.parametrize("mark", ["", "null", "NULL", "N/A", "-"])
def test_a_blank_cell_is_never_0(mark: str) -> None:
    assert read(f"audience,2026-11-10,2026-11-11\nvip,{mark},0\n") == {"vip": {TEN: None, ELEVEN: 0}}


def test_a_blank_mark_may_be_a_number() -> None:
    text = "audience,2026-11-10,2026-11-11\nvip,0,10\n"
    assert read(text, blank_marks=("0",)) == {"vip": {TEN: None, ELEVEN: 10}}
    with pytest.raises(TrendsCsvError, match=r"(?s)Invalid contact count '' in line 2, .* or a blank mark \('0'\)"):
        read(text.replace("10\n", "\n"), blank_marks=("0",))


@pytest.mark.parametrize("cells", [",", ",,", "1,,", ",1,", ",,1", "1,,1", "1,2,"])
def test_empty_cells_are_blank_anywhere(cells: str) -> None:
    expected = [int(cell) if cell else None for cell in cells.split(",")]
    days = ",".join(f"2026-11-{10 + n}" for n in range(len(expected)))
    assert list(read(f"audience,{days}\nvip,{cells}\n")["vip"].values()) == expected


def test_columns_keep_the_order_of_the_file() -> None:
    reader = TrendsReader(io.BytesIO(b"audience,2026-11-11,2026-11-10\nvip,11,10\n"))
    assert reader.days == [ELEVEN, TEN]
    assert contacts(next(iter(reader))) == [11, 10]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(
            "audience,2026-11-10,2026-11-11\nvip,1\nnew,1,2\n", "Line 2 has 2 cells, but the header has 3", id="short"
        ),
        pytest.param("audience,2026-11-10\nvip,1,2\n", "Line 2 has 3 cells, but the header has 2", id="long"),
        pytest.param(
            "audience,2026-11-10,2026-11-10\n", "Duplicate day 2026-11-10 in columns 2 and 3 ('2026-11-10')", id="twice"
        ),
        pytest.param("audience,2026-11-10,20261110\n", "day 2026-11-10 in columns 2 and 3", id="twice-in-another-form"),
        pytest.param("audience,2026-13-45\n", "Invalid date '2026-13-45' in the header, column 2", id="no-date"),
        pytest.param("audience,10/11/2026\n", "column 2. Set date_formats of the CsvFormat", id="ambiguous-date"),
        pytest.param(
            "audience,2026-11-10\nvip,many\n",
            "'many' in line 2, audience 'vip', day 2026-11-10",
            id="text",
        ),
        pytest.param("audience,2026-11-10\nvip,-1\n", "Invalid contact count '-1'", id="negative"),
        pytest.param("audience,2026-11-10\nvip,1.5\n", "Invalid contact count '1.5'", id="fraction"),
        pytest.param("audience,2026-11-10\nvip,1_000\n", "Invalid contact count '1_000'", id="underscore"),
        pytest.param("audience,2026-11-10\nvip,٣\n", "Invalid contact count", id="other-digits"),
        pytest.param(
            "audience,2026-11-10\nvip,1\nnew,2\nvip,3\n", "Duplicate audience 'vip' in lines 2 and 4", id="again"
        ),
        pytest.param("audience,2026-11-10\n,1\n", "Line 2 has no audience name", id="no-audience"),
        pytest.param('audience,2026-11-10\n"vip"x,1\n', "Line 2 is not CSV", id="quote-inside"),
        pytest.param(b"audience,2026-11-10\nv\xffp,1\n", "is not utf-8 after line 0 (byte 0xff)", id="not-utf-8"),
    ],
)
def test_invalid_files_are_rejected_by_line_or_column(data: bytes | str, text: str) -> None:
    with pytest.raises(TrendsCsvError) as rejected:
        read(data)
    assert text in rejected.value.message


def test_a_missing_audience_column_is_rejected() -> None:
    with pytest.raises(
        TrendsCsvError, match="(?s)0 audience columns 'Segment': .* starts with 'audience', '2026-11-10'"
    ):
        read("audience,2026-11-10\n", audience_column="Segment")


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00\x1a"), min_size=1).filter(fold_name)
counts = st.lists(st.none() | st.integers(0, MAX_COUNT), min_size=3, max_size=3)


@given(
    st.lists(st.tuples(names, counts), min_size=1, max_size=8, unique_by=lambda row: fold_name(row[0])).map(dict),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(",;\t|"),
)
def test_files_of_the_csv_module_are_read(sizes: dict[str, list[int | None]], quoting: Any, delimiter: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, delimiter=delimiter)
    writer.writerow(["audience", "2026-11-10", "2026-11-11", "2026-11-12"])
    writer.writerows([name, *("" if size is None else size for size in row)] for name, row in sizes.items())
    reader = TrendsReader(io.BytesIO(text.getvalue().encode()), CsvFormat(delimiter=delimiter))
    assert {row.audience: contacts(row) for row in reader} == sizes


class Endless:
    """A file of many rows that is never completely in memory."""

    def __init__(self, rows: int, days: int) -> None:
        header = "audience," + ",".join(str(date.fromordinal(730000 + n)) for n in range(days)) + "\n"
        self._rows, self._days, self._row, self._rest = rows, days, 0, header.encode()

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and self._row < self._rows:
            self._rest += (f"a{self._row}" + ",1234567" * self._days + "\n").encode()
            self._row += 1
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


@pytest.mark.parametrize("days", [31, 366])
def test_memory_does_not_grow_with_the_file(days: int) -> None:
    def peak(rows: int) -> int:
        tracemalloc.start()
        reader = TrendsReader(Endless(rows, days))  # type: ignore[arg-type]
        assert sum(1 for _ in reader) == rows
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(10)
    # Only the names of the audiences are kept, to detect duplicates: about 150 bytes each.
    assert peak(2000) - peak(500) < 1500 * 300


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xef\xbb\xbf\n", id="blank"),
        pytest.param(b"audience,2026-11-10,2026-11", id="in-the-header"),
        pytest.param(b"audience,2026-11-10", id="at-the-end-of-the-header"),
        pytest.param(b"audience;2026-11-10;2026-11-1", id="in-a-header-with-another-delimiter"),
        pytest.param(b"audience,2026-11-10,2026-11-11\nvip,1,2\nne", id="in-a-name"),
        pytest.param(b"audience,2026-11-10,2026-11-11\nvip,1,2\nvip,", id="in-a-name-in-the-form-of-another"),
        pytest.param(b"audience,2026-11-10,2026-11-11\nvip,1,2\nnew,3", id="in-a-row"),
        pytest.param(b"audience,2026-11-10,2026-11-11\nvip,1,2\nnew,3\n", id="short-last-row"),
        pytest.param(b"audience,2026-11-10,2026-11-11\nvip,1,2\nnew,3\n\n,,\n\x1a", id="short-last-row-and-blanks"),
        pytest.param(b"audience,2026-11-10\nvip,1\nnew,nul", id="in-a-blank-mark"),
        pytest.param(b'audience,2026-11-10\nvip,1\n"new', id="in-a-quoted-name"),
        pytest.param(b'audience,2026-11-10\nvip,1\nnew,"61', id="in-a-quoted-number"),
        pytest.param(b'audience,2026-11-10\nvip,1\n"two\n', id="in-a-quoted-newline"),
        pytest.param("audience,2026-11-10\nvip,1\nKäufer,2\n".encode()[:-8], id="in-a-character"),
        pytest.param(b"audience,2026-11-10\nvip,1\nnew,6\0\0\0\0", id="space-reserved-by-the-writer"),
    ],
)
def test_a_truncated_file_is_incomplete(data: bytes) -> None:
    with pytest.raises(IncompleteTrendsError) as raised:
        read(data)
    assert raised.value.retry_helps
    assert not isinstance(raised.value, TrendsCsvError)


@pytest.mark.parametrize(
    ("end", "is_ended"),
    [
        ("61234\n", True),
        ("61234\r\n", True),
        ("61234\r", True),
        ("61234\n\x1a", True),
        ("61234\x1a", True),
        ("61234", False),
        ("61", False),
        ('"61234"', False),
    ],
)
def test_whether_the_last_line_is_ended_is_known(end: str, is_ended: bool) -> None:
    reader = TrendsReader(io.BytesIO(f"audience,2026-11-10\nvip,{end}".encode()))
    assert len(list(reader)) == 1
    assert reader.is_ended is is_ended


@given(st.integers(0, 200))
def test_no_prefix_of_a_file_is_read_as_another_complete_file(length: int) -> None:
    data = 'audience,2026-11-10,2026-11-11\nvip,61234,61235\n"Käufer, ""Gold""",61236,\nnew,"61237","61238"\n'.encode()
    whole = read(data)
    try:
        reader = TrendsReader(io.BytesIO(data[:length]))
        rows = {row.audience: dict(zip(reader.days, contacts(row), strict=True)) for row in reader}
    except IncompleteTrendsError:
        return
    if reader.is_ended:
        assert rows.items() <= whole.items()


VIP: dict[str, dict[date, int | None]] = {"vip": {TEN: 5, ELEVEN: None}, "new": {TEN: 6, ELEVEN: 7}}
FRAME = "audience,2026-11-10,2026-11-11\nvip,5,\nnew,6,7\n"


@pytest.mark.parametrize(
    ("data", "options"),
    [
        pytest.param("sep=,\n" + FRAME, {}, id="separator-line"),
        pytest.param("sep=;\r\n" + FRAME.replace(",", ";"), {}, id="separator-line-with-semicolon"),
        pytest.param('"sep=\t"\n' + FRAME.replace(",", "\t"), {}, id="quoted-separator-line-with-tab"),
        pytest.param("\n \n,,\n" + FRAME, {}, id="blank-lines-before"),
        pytest.param(FRAME + "\n\n", {}, id="blank-lines-after"),
        pytest.param(FRAME + ",,\n, ,\n", {}, id="delimiters-after"),
        pytest.param(FRAME.replace("new", ",,\nnew"), {}, id="delimiters-between"),
        pytest.param(FRAME + "\x1a", {}, id="ctrl-z"),
        pytest.param(FRAME + "\x1a\r\n", {}, id="ctrl-z-in-a-line"),
        pytest.param(FRAME.rstrip("\n") + "\x1a", {}, id="ctrl-z-in-place-of-a-newline"),
        pytest.param(FRAME.replace("\n", ",\n"), {}, id="trailing-delimiter"),
        pytest.param(FRAME.replace("\n", ", ,\r\n"), {}, id="trailing-delimiters"),
        pytest.param("Audience Trends\n\n" + FRAME, {"skip_lines": 1}, id="title"),
        pytest.param('Trends,"2 days,\nboth"\nof acme\n' + FRAME, {"skip_lines": 3}, id="title-lines"),
        pytest.param("Trends\nsep=;\n" + FRAME.replace(",", ";"), {"skip_lines": 1}, id="title-and-separator"),
        pytest.param(
            "audience,id,2026-11-10,Total,2026-11-11\nvip,x1,5,5,\nnew,x2,6,13,7\n",
            {"ignore_columns": ("id", "Total")},
            id="other-columns",
        ),
        pytest.param(
            "id,audience,2026-11-10,2026-11-11\nx1,vip,5,\nx2,new,6,7\n",
            {"audience_column": "audience", "ignore_columns": ("id",)},
            id="id-first",
        ),
        pytest.param(FRAME + "Total,11,7\n", {"ignore_rows": ("Total",)}, id="total-row"),
        pytest.param(FRAME + " Total ,many,7\n", {"ignore_rows": ("Total",)}, id="total-row-of-text"),
        pytest.param(FRAME + "Exported by Cordial\n", {"ignore_rows": ("Exported by Cordial",)}, id="footer"),
        pytest.param(
            "id,audience,2026-11-10,2026-11-11\nx1,vip,5,\n,Total,11,7\nx2,new,6,7\nSum,,11,7\n",
            {"audience_column": "audience", "ignore_columns": ("id",), "ignore_rows": ("Total", "Sum")},
            id="total-row-by-either-cell",
        ),
    ],
)
def test_what_surrounds_the_rows_is_skipped(data: str, options: dict[str, Any]) -> None:
    assert read(data, **options) == VIP


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(
            "Audience Trends\n\n" + FRAME, "appears to be the header: set CsvFormat(skip_lines=2)", id="title"
        ),
        pytest.param(
            "Trends,of,acme\n" + FRAME,
            "Line 1 is not a header; line 2 appears to be it. Set CsvFormat(skip_lines=1)",
            id="title-with-delimiters",
        ),
        pytest.param("Trends; acme\n" + FRAME, "Set CsvFormat(skip_lines=1)", id="title-with-another-delimiter"),
        pytest.param(
            "audience,id,2026-11-10,Total\nvip,x1,5,5\n",
            "Column 2 of the header, 'id', is not a day. Set CsvFormat(ignore_columns=('id', 'Total'))",
            id="other-columns",
        ),
        pytest.param(
            "id,audience,2026-11-10,Total\nx1,vip,5,5\n",
            "Set CsvFormat(audience_column='audience', ignore_columns=('id', 'Total'))",
            id="id-first",
        ),
        pytest.param(
            "audience,2026-11-10,\nvip,5,6\n",
            "Line 2 has a cell in column 3 or later, which has no header",
            id="no-header",
        ),
        pytest.param("audience,2026-11-10,,2026-11-11\n", "Column 3 of the header, '', is not a day", id="gap"),
    ],
)
def test_other_lines_and_columns_are_errors_that_name_the_option(data: str, text: str) -> None:
    with pytest.raises(TrendsCsvError) as rejected:
        read(data)
    assert text in rejected.value.message


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize(
    "header",
    ["audience,2026-11-10,2026-11-11", 'audience,"Nov 10, 2026","Nov 11, 2026"', "audience,10/11/2026,11/11/2026"],
)
def test_another_delimiter_is_named(delimiter: str, header: str) -> None:
    data = header.replace(",", delimiter).replace(f"{delimiter} ", ", ") + "\nvip;5;6\n".replace(";", delimiter)
    with pytest.raises(TrendsCsvError) as rejected:
        read(data)
    assert f"Set CsvFormat(delimiter={delimiter!r})" in rejected.value.message


def test_a_comma_is_named_where_another_delimiter_was_expected() -> None:
    with pytest.raises(TrendsCsvError, match="Set CsvFormat\\(delimiter=','\\)"):
        read(FRAME, delimiter=";")
    with pytest.raises(TrendsCsvError, match="Set CsvFormat\\(delimiter=';'\\)"):
        read(FRAME.replace(",", ";"), audience_column="audience")


def test_a_file_without_days_is_read() -> None:
    assert read("audience\nvip\nnew\n") == {"vip": {}, "new": {}}


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ('"1,234"', {"thousands": ","}),
        ("1.234", {"thousands": "."}),
        ("1'234", {"thousands": "'"}),
        ("1 234", {"thousands": " "}),
        ("1\u00a0234", {"thousands": " "}),
        ("1\u202f234", {"thousands": " "}),
        ("1234.0", {"decimal": "."}),
        ('"1234,00"', {"decimal": ","}),
        ('"1,234.0"', {"thousands": ",", "decimal": "."}),
        ("1234", {"thousands": ",", "decimal": "."}),
        ('"1234"', {}),
        (" 01234 ", {}),
    ],
)
def test_formatted_counts(cell: str, options: dict[str, Any]) -> None:
    assert read(f"audience,2026-11-10\nvip,{cell}\n", **options) == {"vip": {TEN: 1234}}
    if options and cell != "1234":
        with pytest.raises(TrendsCsvError) as rejected:
            read(f"audience,2026-11-10\nvip,{cell}\n")
        named = ", ".join(f"{name}={mark!r}" for name, mark in options.items())
        assert f"Set CsvFormat({named})" in rejected.value.message


@pytest.mark.parametrize(
    "cell", ["1,23", "1,2345", "12345,678", ",123", "1,234.5", "1 234", "1e3", "+5", "1,234.", "1.0.0"]
)
def test_wrongly_formatted_counts_are_rejected(cell: str) -> None:
    with pytest.raises(TrendsCsvError, match="Invalid contact count"):
        read(f'audience,2026-11-10\nvip,"{cell}"\n', thousands=",", decimal=".")


@pytest.mark.parametrize("cell", [f"{MAX_COUNT}", f"000{MAX_COUNT}", f'"{MAX_COUNT}"'])
def test_the_largest_count_is_read(cell: str) -> None:
    assert read(f"audience,2026-11-10\nvip,{cell}\n") == {"vip": {TEN: MAX_COUNT}}


@pytest.mark.parametrize(
    "cell", [f"{MAX_COUNT + 1}", f"{10**20}", "9" * 5000, f'"{MAX_COUNT + 1}"', f" {MAX_COUNT + 1}"]
)
def test_a_count_above_63_bits_is_rejected_by_line(cell: str) -> None:
    with pytest.raises(
        TrendsCsvError, match=f"in line 3, audience 'new', day 2026-11-10:\\sexpected at most {MAX_COUNT}"
    ):
        read(f"audience,2026-11-10\nvip,1\nnew,{cell}\nold,2\n")


@pytest.mark.parametrize("name", ["2024", "1e5", "None", "null", "-", "N/A", "true", "007", "1,5", "[1]"])
def test_a_name_in_the_form_of_another_value_is_text(name: str) -> None:
    assert list(read(f'audience,2026-11-10\n"{name}",1\n')) == [name]
    if "," not in name:
        assert list(read(f"audience,2026-11-10\n{name},1\n")) == [name]


@pytest.mark.parametrize(
    "name", ["Ka\u0308ufer Gold", " Käufer Gold", "Käufer\u00a0Gold\u00a0", "\u200bKäufer Gold\u200d", "Käufer Gold\t"]
)
def test_names_that_look_alike_are_the_same_audience(name: str) -> None:
    assert fold_name(name) == "Käufer Gold"
    with pytest.raises(TrendsCsvError) as rejected:
        read(f"audience,2026-11-10\nKäufer Gold,1\n{name},2\n")
    assert "in lines 2 and 3" in rejected.value.message


@pytest.mark.parametrize("name", ["käufer gold", "Kaufer Gold", "Käufer  Gold", "KäuferGold"])
def test_other_names_are_other_audiences(name: str) -> None:
    assert list(read(f"audience,2026-11-10\nKäufer Gold,1\n{name},2\n")) == ["Käufer Gold", name]


@pytest.mark.parametrize(
    ("header", "zone", "day"),
    [
        ("2026-11-10T23:00:00Z", "Europe/Berlin", ELEVEN),
        ("2026-11-11T00:00:00+01:00", "Europe/Berlin", ELEVEN),
        ("2026-11-11T07:00:00Z", "America/Los_Angeles", TEN),
        ("2026-11-11T08:00:00Z", "America/Los_Angeles", ELEVEN),
        ("2026-11-11 00:00:00", "Asia/Tokyo", ELEVEN),
        ("2026-11-11", "Asia/Tokyo", ELEVEN),
        ("2026-11-11T00:00:00-08:00", None, ELEVEN),
    ],
)
def test_a_header_with_an_offset_is_its_day_in_the_time_zone(header: str, zone: str | None, day: date) -> None:
    data = f"audience,{header}\nvip,1\n"
    assert read(data, zone) == {"vip": {day: 1}}
    if zone:
        # The option comes before the account's zone.
        assert read(data, "Pacific/Apia", timezone=zone) == {"vip": {day: 1}}


def test_a_header_with_an_offset_needs_a_time_zone() -> None:
    with pytest.raises(TrendsCsvError, match="column 2, depends on the account's time zone"):
        read("audience,2026-11-10T23:00:00Z\nvip,1\n")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("delimiter", ";;"),
        ("delimiter", ""),
        ("delimiter", "1"),
        ("ignore_columns", "Total"),
        ("ignore_rows", "Total"),
        ("date_formats", "%Y"),
        ("skip_lines", -1),
        ("thousands", "0"),
        ("thousands", ""),
        ("encoding", "utf-9"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../etc"),
    ],
)
def test_invalid_options_are_rejected(option: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=f"(?s)Invalid {option} .* of the CsvFormat: expected "):
        CsvFormat(**{option: value})


def test_a_line_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_cordial.trends.csv.MAX_LINE", 1000)
    with pytest.raises(TrendsCsvError, match="Line 1 is longer than 1,000 characters"):
        read("a" * 2000)
