"""The delivered wide CSV, a row for each audience and a column for each day, read as a stream.

Cordial documents no more than that. So the header, the form of a date and the mark of a missing day are options with
tolerant defaults, and what cannot be understood is an error that names the line or the column.

Source: Cordial, "Audience Trends export API".
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import BinaryIO

from airflow_provider_cordial.exceptions import TrendsCsvError

#: Besides ISO 8601. A form that leaves day and month in doubt is for the author to name.
DATE_FORMATS = ("%Y/%m/%d", "%Y%m%d", "%b %d, %Y", "%B %d, %Y", "%d %b %Y")

#: How a day without a snapshot may be marked.
MISSING_MARKS = ("", "null", "NULL", "None", "N/A", "-")


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How the delivered file is written.

    :param audience_column: the header of the column with the audience's name; by default it is the first column.
    :param date_formats: ``strptime`` formats of the headers, tried in turn after ISO 8601.
    :param missing_marks: what stands for a day without a snapshot.
    :param encoding: a byte-order mark is skipped where it is UTF-8.
    :param delimiter: one character.
    """

    audience_column: str | None = None
    date_formats: tuple[str, ...] = DATE_FORMATS
    missing_marks: tuple[str, ...] = MISSING_MARKS
    encoding: str = "utf-8"
    delimiter: str = ","


@dataclass(frozen=True, slots=True)
class AudienceRow:
    """The sizes of one audience, in the order of ``TrendsReader.days``; None where there is no snapshot."""

    audience: str
    contacts: list[int | None]


class TrendsReader:
    """Reads the header when made, and then a row at a time; memory does not grow with the file.

    :param stream: the file as bytes, read to its end once.
    :param csv_format: how it is written.
    :raises TrendsCsvError: when made or while iterated: naming the line or the column, and what is wrong with it.
    """

    def __init__(self, stream: BinaryIO, csv_format: CsvFormat | None = None) -> None:
        self._format = csv_format or CsvFormat()
        encoding = self._format.encoding
        if codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"
        text = io.TextIOWrapper(io.BufferedReader(_Raw(stream), 1 << 18), encoding=encoding, newline="")
        self._rows = csv.reader(text, delimiter=self._format.delimiter, strict=True)
        header = self._next_row()
        if header is None:
            msg = "The file is empty: not even a header row is in it."
            raise TrendsCsvError(msg)
        self._width = len(header)
        self._audience_at = self._audience_index(header)
        columns = [(index, text) for index, text in enumerate(header) if index != self._audience_at]
        self._day_at = [index for index, _ in columns]
        self.days: list[date] = self._days(columns)

    def __iter__(self) -> Iterator[AudienceRow]:
        missing = frozenset(self._format.missing_marks)
        first_line: dict[str, int] = {}
        while (row := self._next_row()) is not None:
            if not row:
                continue
            line = self._rows.line_num
            if len(row) != self._width:
                msg = f"Line {line} has {len(row)} cells, but the header has {self._width}. The file may be cut short."
                raise TrendsCsvError(msg)
            audience = row[self._audience_at]
            if not audience:
                msg = f"Line {line} names no audience."
                raise TrendsCsvError(msg)
            if audience in first_line:
                msg = f"Line {line} gives audience {audience!r} again; line {first_line[audience]} has it already."
                raise TrendsCsvError(msg)
            first_line[audience] = line
            cells = (row[index].strip() for index in self._day_at)
            try:
                # ASCII digits only: int() would also take "1_000", "+5" and digits of other scripts.
                contacts = [
                    None if cell in missing else int(cell) if cell.isascii() and cell.isdigit() else _refuse(cell)
                    for cell in cells
                ]
            except _NotASizeError as error:
                raise self._bad_size(line, audience, row, str(error)) from None
            yield AudienceRow(audience, contacts)

    def _next_row(self) -> list[str] | None:
        try:
            return next(self._rows, None)
        except csv.Error as error:
            msg = f"Line {self._rows.line_num} is not CSV: {error}. The file may be cut short."
            raise TrendsCsvError(msg) from None
        except UnicodeDecodeError as error:
            msg = (
                f"After line {self._rows.line_num} the file is not {self._format.encoding} "
                f"(byte {error.object[error.start]:#04x}). Give its encoding."
            )
            raise TrendsCsvError(msg) from None

    def _audience_index(self, header: Sequence[str]) -> int:
        wanted = self._format.audience_column
        if wanted is None:
            return 0
        places = [index for index, text in enumerate(header) if text.strip() == wanted]
        if len(places) != 1:
            shown = ", ".join(repr(text) for text in header[:5])
            msg = f"The header has {len(places)} columns named {wanted!r} for the audience; it begins with {shown}."
            raise TrendsCsvError(msg)
        return places[0]

    def _days(self, columns: Sequence[tuple[int, str]]) -> list[date]:
        days: dict[date, int] = {}
        for index, text in columns:
            day = _day(text.strip(), self._format.date_formats)
            if day is None:
                msg = (
                    f"Column {index + 1}, {text!r}, is no date. Give date_formats, or audience_column where the "
                    "audience is not in the first column."
                )
                raise TrendsCsvError(msg)
            if day in days:
                msg = f"Column {index + 1}, {text!r}, is the day {day} again; column {days[day] + 1} has it already."
                raise TrendsCsvError(msg)
            days[day] = index
        return list(days)

    def _bad_size(self, line: int, audience: str, row: Sequence[str], cell: str) -> TrendsCsvError:
        index = next(index for index in self._day_at if row[index].strip() == cell)
        day = self.days[self._day_at.index(index)]
        return TrendsCsvError(
            f"Line {line}, audience {audience!r}, day {day}: {cell[:50]!r} is no size. A size is a whole number, 0 or "
            f"more; a missing day is one of {', '.join(repr(mark) for mark in self._format.missing_marks)}."
        )


class _NotASizeError(Exception):
    pass


def _refuse(cell: str) -> int:
    raise _NotASizeError(cell)


def _day(text: str, formats: Sequence[str]) -> date | None:
    try:
        # A time of day may follow; its date is what the column is of.
        return datetime.fromisoformat(text).date()
    except ValueError:
        pass
    for form in formats:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a date has no time zone
        except ValueError:
            continue
    return None


class _Raw(io.RawIOBase):
    """A stream that only needs ``read``, as a hook's may, in the form that the io module reads from."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
