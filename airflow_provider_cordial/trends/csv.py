"""TrendsReader: the delivered wide CSV, a row per audience and a column per day, read as a stream.

Cordial documents no more than that. So the header, the format of a date, and the mark of a blank cell are options with
tolerant defaults, and everything else is an error that names the line or the column.

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

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.exceptions import DeliveryError

#: In addition to ISO 8601. A format with an ambiguous order of day and month is for the author to name.
DATE_FORMATS = ("%Y/%m/%d", "%Y%m%d", "%b %d, %Y", "%B %d, %Y", "%d %b %Y")

#: How a day without a snapshot may be marked.
BLANK_MARKS = ("", "null", "NULL", "None", "N/A", "-")


class TrendsCsvError(DeliveryError, AirflowFailException):
    """The delivered CSV cannot be read; the message names the line or the column."""


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How the delivered file is written.

    :param audience_column: the header of the column with the audience's name; by default the first column.
    :param date_formats: ``strptime`` formats of the headers, tried in turn after ISO 8601.
    :param blank_marks: the cells that mean a day without a snapshot.
    :param encoding: of the file; with UTF-8 a byte-order mark is skipped.
    :param delimiter: one character.
    """

    audience_column: str | None = None
    date_formats: tuple[str, ...] = DATE_FORMATS
    blank_marks: tuple[str, ...] = BLANK_MARKS
    encoding: str = "utf-8"
    delimiter: str = ","


@dataclass(frozen=True, slots=True)
class AudienceRow:
    """The sizes of one audience, in the order of ``TrendsReader.days``; None without a snapshot."""

    audience: str
    contacts: list[int | None]


class TrendsReader:
    """Read the header when created, and then one row at a time; memory does not grow with the file.

    :param stream: the file as bytes, read once to its end.
    :param csv_format: how the file is written.
    :raises TrendsCsvError: when created or iterated; the message names the line or the column.
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
            msg = "The file is empty: expected a header row."
            raise TrendsCsvError(msg)
        self._width = len(header)
        self._audience_at = self._audience_index(header)
        columns = [(index, text) for index, text in enumerate(header) if index != self._audience_at]
        self._day_at = [index for index, _ in columns]
        self.days: list[date] = self._days(columns)

    def __iter__(self) -> Iterator[AudienceRow]:
        blank = frozenset(self._format.blank_marks)
        first_line: dict[str, int] = {}
        while (row := self._next_row()) is not None:
            if not row:
                continue
            line = self._rows.line_num
            if len(row) != self._width:
                msg = f"Line {line} has {len(row)} cells, but the header has {self._width}. The file may be truncated."
                raise TrendsCsvError(msg)
            audience = row[self._audience_at]
            if not audience:
                msg = f"Line {line} has no audience name."
                raise TrendsCsvError(msg)
            if audience in first_line:
                msg = f"Duplicate audience {audience!r} in lines {first_line[audience]} and {line}."
                raise TrendsCsvError(msg)
            first_line[audience] = line
            cells = (row[index].strip() for index in self._day_at)
            try:
                # ASCII digits only: int() also accepts "1_000", "+5", and digits of other scripts.
                contacts = [
                    None if cell in blank else int(cell) if cell.isascii() and cell.isdigit() else _reject(cell)
                    for cell in cells
                ]
            except _InvalidCountError as error:
                raise self._invalid_count(line, audience, row, str(error)) from None
            yield AudienceRow(audience, contacts)

    def _next_row(self) -> list[str] | None:
        try:
            return next(self._rows, None)
        except csv.Error as error:
            msg = f"Line {self._rows.line_num} is not CSV: {error}. The file may be truncated."
            raise TrendsCsvError(msg) from None
        except UnicodeDecodeError as error:
            msg = (
                f"The file is not {self._format.encoding} after line {self._rows.line_num} "
                f"(byte {error.object[error.start]:#04x}). Set the encoding of the CsvFormat."
            )
            raise TrendsCsvError(msg) from None

    def _audience_index(self, header: Sequence[str]) -> int:
        wanted = self._format.audience_column
        if wanted is None:
            return 0
        places = [index for index, text in enumerate(header) if text.strip() == wanted]
        if len(places) != 1:
            shown = ", ".join(repr(text) for text in header[:5])
            msg = f"The header has {len(places)} audience columns {wanted!r}: expected 1. It starts with {shown}."
            raise TrendsCsvError(msg)
        return places[0]

    def _days(self, columns: Sequence[tuple[int, str]]) -> list[date]:
        days: dict[date, int] = {}
        for index, text in columns:
            day = _parse_day(text.strip(), self._format.date_formats)
            if day is None:
                msg = (
                    f"Invalid date {text!r} in the header, column {index + 1}. Set date_formats of the CsvFormat, or "
                    "audience_column if the audience is not in the first column."
                )
                raise TrendsCsvError(msg)
            if day in days:
                msg = f"Duplicate day {day} in columns {days[day] + 1} and {index + 1} ({text!r})."
                raise TrendsCsvError(msg)
            days[day] = index
        return list(days)

    def _invalid_count(self, line: int, audience: str, row: Sequence[str], cell: str) -> TrendsCsvError:
        index = next(index for index in self._day_at if row[index].strip() == cell)
        day = self.days[self._day_at.index(index)]
        return TrendsCsvError(
            f"Invalid contact count {cell[:50]!r} in line {line}, audience {audience!r}, day {day}: expected a "
            f"non-negative integer, or a blank mark ({', '.join(repr(mark) for mark in self._format.blank_marks)})."
        )


class _InvalidCountError(Exception):
    pass


def _reject(cell: str) -> int:
    raise _InvalidCountError(cell)


def _parse_day(text: str, formats: Sequence[str]) -> date | None:
    try:
        # A time of day may follow the date, which is what counts.
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
    """Adapts a stream that may only have ``read``, as a hook's may, to the io module."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
