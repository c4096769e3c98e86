"""TrendsReader: the delivered wide CSV, a row per audience and a column per day, read as a stream.

Cordial documents no more than that. So what can be recognized safely is read, what is a choice is an option of
``CsvFormat``, and everything else is an error that names the line or the column, and the option if there is one.

Source: Cordial, "Audience Trends export API".
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from typing import BinaryIO, NamedTuple, NoReturn
from zoneinfo import ZoneInfo

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.exceptions import DeliveryError, IncompleteFileError, InvalidParameterError
from airflow_provider_cordial.exports.audience_trends import fold_name

#: In addition to ISO 8601. A format with an ambiguous order of day and month is for the author to name.
DATE_FORMATS = ("%Y/%m/%d", "%Y%m%d", "%b %d, %Y", "%B %d, %Y", "%d %b %Y")

#: How a day without a snapshot may be marked.
BLANK_MARKS = ("", "null", "NULL", "None", "N/A", "-")

#: A blank in ``ReadRow.counts``: a count is never negative.
BLANK = -1

#: What the databases take.
MAX_COUNT = (1 << 63) - 1

#: Characters; the line of a century has fewer. A longer one is not CSV, and would fill the memory.
MAX_LINE = 1 << 22

#: Lines before the header that are searched for it, to name it in an error.
_MAX_TITLE_LINES = 10

_DELIMITERS = (",", ";", "\t", "|")

#: Spreadsheets write such a line to name the delimiter.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)

#: Ctrl-Z marks the end of a file for some writers.
_END_MARK = "\x1a"

#: The fastest way from digits to integers that the standard library has.
_DECODE = json.JSONDecoder().raw_decode

_BLANK_CELL = f",{BLANK},"

_COUNT_CHARACTERS = b"0123456789,"

_GROUPED = re.compile(
    r"\d{1,3}(?P<thousands>[,. '\u2019\u00a0\u2009\u202f])\d{3}((?P=thousands)\d{3})*((?P<decimal>[.,])0+)?"
)
_WITH_DECIMALS = re.compile(r"\d+(?P<decimal>[.,])0+")
_SPACES = " \u00a0\u2009\u202f"

_ID_COLUMN = re.compile(r"(.*[\W_])?(id|key|uuid|guid|#)", re.IGNORECASE)
_NAME_COLUMN = re.compile(r".*(audience|segment|name)", re.IGNORECASE | re.DOTALL)


class TrendsCsvError(DeliveryError, AirflowFailException):
    """The delivered CSV cannot be read; the message names the line or the column."""


class IncompleteTrendsError(IncompleteFileError):
    """The file is truncated, or lacks audiences or days of the export; a retry reads it again."""


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How the delivered file is written.

    :param audience_column: the header of the column with the audience's name; by default the first column.
    :param date_formats: ``strptime`` formats of the headers, tried in turn after ISO 8601.
    :param blank_marks: the cells that mean a day without a snapshot.
    :param encoding: of the file; with UTF-8 a byte-order mark is skipped.
    :param delimiter: one character; a line ``sep=;`` at the start of the file overrides it.
    :param skip_lines: how many lines precede the header, titles for instance; blank lines are skipped anyway.
    :param ignore_columns: the headers of columns that are not days, ``("id", "Total")`` for instance.
    :param ignore_rows: the first cells of rows that are not audiences, ``("Total",)`` for instance.
    :param thousands: the separator of thousands in a count: ``","`` reads ``1,234``. A space includes no-break spaces.
    :param decimal: the decimal mark of a count, whose decimals must be zeros: ``"."`` reads ``1234.0``.
    :param timezone: the zone in which a header with a time and an offset is its day; by default the account's.
    :param final_newline: whether the last line ends with a newline. If it does not, the file is truncated, and is read
        again until it is unchanged for ``FileWait.incomplete_for``; False accepts it at once.
    :raises InvalidParameterError: an option is invalid.
    """

    audience_column: str | None = None
    date_formats: tuple[str, ...] = DATE_FORMATS
    blank_marks: tuple[str, ...] = BLANK_MARKS
    encoding: str = "utf-8"
    delimiter: str = ","
    skip_lines: int = 0
    ignore_columns: tuple[str, ...] = ()
    ignore_rows: tuple[str, ...] = ()
    thousands: str | None = None
    decimal: str | None = None
    timezone: str | None = None
    final_newline: bool = True

    def __post_init__(self) -> None:
        for name in ("date_formats", "blank_marks", "ignore_columns", "ignore_rows"):
            value = getattr(self, name)
            _require(not isinstance(value, str), name, value, "a tuple of texts, also for a single one")
        _require(
            len(self.delimiter) == 1 and not self.delimiter.isalnum() and self.delimiter not in '"\r\n',
            "delimiter",
            self.delimiter,
            "one character, but not a letter, digit, quote, or newline",
        )
        _require(self.skip_lines >= 0, "skip_lines", self.skip_lines, "0 or more")
        for name in ("thousands", "decimal"):
            mark = getattr(self, name)
            _require(mark is None or (len(mark) == 1 and not mark.isalnum()), name, mark, "one character, or None")
        _require(
            self.thousands is None or self.thousands != self.decimal, "decimal", self.decimal, "another than thousands"
        )
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            _require(False, "encoding", self.encoding, "an encoding that Python knows")
        try:
            self.zone()
        except (OSError, ValueError, LookupError):
            _require(False, "timezone", self.timezone, "a name such as America/Los_Angeles")

    def zone(self) -> ZoneInfo | None:
        """Return the time zone; None if it is not set."""
        return ZoneInfo(self.timezone) if self.timezone else None


def _require(valid: bool, name: str, value: object, expected: str) -> None:
    if not valid:
        msg = f"Invalid {name} {value!r} of the CsvFormat: expected {expected}."
        raise InvalidParameterError(msg)


@dataclass(frozen=True, slots=True)
class AudienceRow:
    """The sizes of one audience, in the order of the days; None without a snapshot."""

    audience: str
    contacts: list[int | None]


class ReadRow(NamedTuple):
    """A row as it was read: compact, because a long file has many cells.

    :param audience: as the file spells it.
    :param counts: in the order of ``TrendsReader.days``; ``BLANK`` without a snapshot.
    :param blanks: how many of them are blank.
    """

    audience: str
    counts: array[int]
    blanks: int


class TrendsReader:
    """Read the header when created, and then one row at a time; memory does not grow with the file.

    :param stream: the file as bytes, read once to its end.
    :param csv_format: how the file is written.
    :param timezone: the account's time zone; an option of the format overrides it.
    :raises IncompleteTrendsError: when created or iterated; the file is truncated.
    :raises TrendsCsvError: when created or iterated; the message names the line or the column.
    """

    def __init__(
        self, stream: BinaryIO, csv_format: CsvFormat | None = None, *, timezone: tzinfo | None = None
    ) -> None:
        self._format = csv_format or CsvFormat()
        self._zone = self._format.zone() or timezone
        self._blank = frozenset(self._format.blank_marks)
        self._empty_is_blank = "" in self._blank
        self._number_is_blank = any(mark.isdigit() for mark in self._blank)
        self._count = _count_pattern(self._format)
        #: Whether days depend on the time zone.
        self.has_offsets = False
        self._lines = _Lines(stream, self._format.encoding)
        for _ in range(self._format.skip_lines):
            self._next_line()
        self._delimiter = self._find_delimiter()
        self._rows = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        header = self._next_row()
        if header is None or not self._lines.is_ended:
            msg = (
                "The file is truncated inside its header row."
                if header
                else "The file is empty: expected a header row."
            )
            raise IncompleteTrendsError(msg)
        self._header_line = self._lines.number
        self._width = len(header)
        self._audience_at = self._find_audience(header)
        ignored = {fold_name(text) for text in self._format.ignore_columns}
        # A delimiter at the end of each line makes a column without a header.
        while len(header) > 1 and len(header) - 1 != self._audience_at and not fold_name(header[-1]):
            header.pop()
        self._named = len(header)
        columns = [
            (index, text)
            for index, text in enumerate(header)
            if index != self._audience_at and fold_name(text) not in ignored
        ]
        self._day_at = [index for index, _ in columns]
        self.days: list[date] = self._parse_days(header, columns)
        #: Whether a row is its audience and then its counts, and nothing else.
        self._is_plain = self._day_at == list(range(1, self._width))

    @property
    def is_ended(self) -> bool:
        """Whether the last line, of those read so far, ends with a newline."""
        return self._lines.is_ended

    def __iter__(self) -> Iterator[ReadRow]:
        try:
            yield from self._read_rows()
        except UnicodeDecodeError as error:
            raise self._encoding_error(error) from None

    def _read_rows(self) -> Iterator[ReadRow]:
        lines, delimiter, is_plain = self._lines, self._delimiter, self._is_plain
        first_line: dict[str, int] = {}
        ignored = {fold_name(text) for text in self._format.ignore_rows}
        for line in lines:
            # Most lines by far are a name and numbers: they need no CSV parser.
            audience, found, rest = line.partition(delimiter)
            parsed = self._parse_plain(rest.rstrip("\r\n")) if is_plain and found and '"' not in audience else None
            name = fold_name(audience)
            if parsed is None or not name or name in ignored:
                lines.push_back()
                if (row := self._next_row()) is None:
                    return
                if fold_name(row[0]) in ignored:
                    continue
                audience = self._check_row(row)
                name = fold_name(audience)
                if name in ignored:
                    continue
                parsed = self._parse_cells(audience, [row[index] for index in self._day_at])
            if name in first_line:
                self._reject_duplicate(audience, first_line[name])
            first_line[name] = lines.number
            yield ReadRow(audience, *parsed)

    def _next_line(self) -> str | None:
        try:
            return next(self._lines, None)
        except UnicodeDecodeError as error:
            raise self._encoding_error(error) from None

    def _next_row(self) -> list[str] | None:
        """Return the next row with a text in it."""
        try:
            for row in self._rows:
                if not _is_blank(row):
                    return row
        except csv.Error as error:
            # "unexpected end of data" is a quoted cell that the file ends in.
            msg = f"Line {self._lines.number} is not CSV: {error}."
            raise self._error(msg, is_cut="unexpected end of data" in str(error)) from None
        except UnicodeDecodeError as error:
            raise self._encoding_error(error) from None
        return None

    def _find_delimiter(self) -> str:
        line = self._next_line()
        while line is not None and not line.strip():
            line = self._next_line()
        if line is None:
            return self._format.delimiter
        if match := _SEPARATOR_LINE.fullmatch(line):
            return match[1]
        self._lines.push_back()
        return self._format.delimiter

    def _find_audience(self, header: Sequence[str]) -> int:
        wanted = self._format.audience_column
        if wanted is None:
            return 0
        places = [index for index, text in enumerate(header) if fold_name(text) == fold_name(wanted)]
        if len(places) != 1:
            self._reject_delimiter(header)
            self._reject_title(header)
            shown = ", ".join(repr(text) for text in header[:5])
            msg = f"The header has {len(places)} audience columns {wanted!r}: expected 1. It starts with {shown}."
            raise TrendsCsvError(msg)
        return places[0]

    def _parse_days(self, header: Sequence[str], columns: Sequence[tuple[int, str]]) -> list[date]:
        if not columns:
            # All days may be missing, but not because of another delimiter.
            self._reject_delimiter(header)
            if found := next((one for one in _DELIMITERS if len(header) == 1 and one in header[0]), None):
                self._reject_title(header)
                raise self._wrong_delimiter(found)
        days: dict[date, int] = {}
        for index, text in columns:
            moment = _parse_moment(text, self._format.date_formats)
            if moment is None:
                self._reject_header(header, columns)
            day = self._day_of(moment, index, text)
            if day in days:
                msg = f"Duplicate day {day} in columns {days[day] + 1} and {index + 1} ({text!r})."
                raise TrendsCsvError(msg)
            days[day] = index
        return list(days)

    def _day_of(self, moment: datetime, index: int, text: str) -> date:
        if moment.tzinfo is None:
            return moment.date()
        self.has_offsets = True
        if self._zone is not None:
            return moment.astimezone(self._zone).date()
        if moment.time() == time():
            return moment.date()
        msg = (
            f"The day of header {text!r}, column {index + 1}, depends on the account's time zone. "
            "Set CsvFormat(timezone='America/Los_Angeles'), or the zone of the account."
        )
        raise TrendsCsvError(msg)

    def _parse_plain(self, text: str) -> tuple[array[int], int] | None:
        """Return the counts of delimited cells if all are digits or empty; None if they need a closer look.

        Several times as fast as one cell after the other.
        """
        if self._delimiter != ",":
            if "," in text:
                return None
            text = text.replace(self._delimiter, ",")
        # ASCII only: int() also accepts digits of other scripts.
        if self._number_is_blank or not text.isascii() or text.encode().translate(None, _COUNT_CHARACTERS):
            return None
        blanks = 0
        if self._empty_is_blank and (",," in text or text[:1] in ("", ",") or text[-1] == ","):
            # Twice, because the commas of two neighbors overlap.
            text = f",{text},".replace(",,", _BLANK_CELL).replace(",,", _BLANK_CELL)[1:-1]
            blanks = text.count("-")
        try:
            counts = array("q", _DECODE(f"[{text}]")[0])
        except (ValueError, OverflowError):  # an empty cell or a leading zero, or more than 63 bits
            return None
        if len(counts) != len(self.days):
            return None
        return counts, blanks

    def _parse_cells(self, audience: str, cells: list[str]) -> tuple[array[int], int]:
        if (parsed := self._parse_plain(self._delimiter.join(cells))) is not None:
            return parsed
        counts = [self._parse_cell(audience, day, cell.strip()) for day, cell in zip(self.days, cells, strict=True)]
        return array("q", counts), counts.count(BLANK)

    def _parse_cell(self, audience: str, day: date, cell: str) -> int:
        if cell in self._blank:
            return BLANK
        digits = cell
        if self._count is not None and (match := self._count.fullmatch(cell)):
            digits = re.sub(r"\D", "", match["whole"])
        # ASCII digits only: int() also accepts "1_000", "+5", and digits of other scripts.
        if digits.isascii() and digits.isdigit():
            digits = digits.lstrip("0") or "0"
            if len(digits) <= len(str(MAX_COUNT)) and int(digits) <= MAX_COUNT:
                return int(digits)
            expected = f"expected at most {MAX_COUNT}"
        else:
            marks = ", ".join(repr(mark) for mark in self._format.blank_marks)
            expected = f"expected a non-negative integer, or a blank mark ({marks})"
        msg = (
            f"Invalid contact count {cell[:50]!r} in line {self._lines.number}, audience {audience!r}, day {day}: "
            f"{expected}. {_count_hint(cell)}"
        )
        raise self._error(msg.rstrip())

    def _check_row(self, row: Sequence[str]) -> str:
        """Return the audience of a row that has the cells of the header."""
        line = self._lines.number
        msg = f"Line {line} has {len(row)} cell{'s' if len(row) > 1 else ''}, but the header has {self._width}."
        if len(row) < self._width:
            # The rest of the last row may not have arrived yet.
            if not self._has_more():
                hint = f"If this line is not an audience, set CsvFormat(ignore_rows=({row[0][:50]!r},))."
                raise self._error(f"{msg} {hint}", is_cut=True)
            raise TrendsCsvError(msg)
        if len(row) > self._width:
            is_header = not self.days and any(_parse_moment(text, self._format.date_formats) for text in row)
            hint = f" Line {line} appears to be the header: set CsvFormat(skip_lines={line - 1})." if is_header else ""
            raise self._error(msg + hint)
        if any(cell.strip() for cell in row[self._named :]):
            raise self._error(f"Line {line} has a cell in column {self._named + 1} or later, which has no header.")
        audience = row[self._audience_at]
        if not fold_name(audience):
            raise self._error(f"Line {line} has no audience name.")
        return audience

    def _has_more(self) -> bool:
        """Return whether the rest of the file has any text."""
        while (line := self._next_line()) is not None:
            if line.strip().strip(f"{self._delimiter}{_END_MARK}"):
                return True
        return False

    def _error(self, msg: str, *, is_cut: bool = False) -> TrendsCsvError | IncompleteTrendsError:
        """Return the error of a line; the last line may only be truncated.

        :param is_cut: whether it is, although it ends with a newline.
        """
        if is_cut or not self._lines.is_ended:
            return IncompleteTrendsError(f"The file is truncated inside its last line. {msg}")
        return TrendsCsvError(msg)

    def _encoding_error(self, error: UnicodeDecodeError) -> TrendsCsvError | IncompleteTrendsError:
        # These two are of the end of the file.
        if error.reason in ("unexpected end of data", "truncated data"):
            return IncompleteTrendsError(f"The file is truncated inside a character, after line {self._lines.number}.")
        return TrendsCsvError(
            f"The file is not {self._format.encoding} after line {self._lines.number} "
            f"(byte {error.object[error.start]:#04x}). Set the encoding of the CsvFormat."
        )

    def _reject_duplicate(self, audience: str, first: int) -> NoReturn:
        hint = "" if audience == fold_name(audience) else "Invisible characters and outer blanks do not count."
        msg = f"Duplicate audience {audience!r} in lines {first} and {self._lines.number}. {hint}".rstrip()
        raise TrendsCsvError(msg)

    def _reject_delimiter(self, header: Sequence[str]) -> None:
        """Raise an error if the header has another delimiter than expected."""
        dates = self._count_dates(header)
        for delimiter in _DELIMITERS:
            if delimiter == self._delimiter:
                continue
            cells = next(csv.reader([self._lines.last], delimiter=delimiter), [])
            if self._count_dates(cells) > dates:
                raise self._wrong_delimiter(delimiter)

    def _wrong_delimiter(self, found: str) -> TrendsCsvError:
        return TrendsCsvError(
            f"The file appears to be delimited by {found!r}, not by {self._delimiter!r}. "
            f"Set CsvFormat(delimiter={found!r})."
        )

    def _reject_header(self, header: Sequence[str], columns: Sequence[tuple[int, str]]) -> NoReturn:
        """Raise the error of a header that has other columns than days; it names what to set."""
        self._reject_delimiter(header)
        self._reject_title(header)
        others = [(index, text) for index, text in columns if _parse_moment(text, self._format.date_formats) is None]
        index, text = others[0]
        words = tuple(text for _, text in others if not re.search(r"\d", text))
        if text not in words:
            msg = (
                f"Invalid date {text!r} in the header, column {index + 1}. Set date_formats of the CsvFormat, or "
                "audience_column if the audience is not in the first column."
            )
            raise TrendsCsvError(msg)
        first = header[self._audience_at]
        name = next((word for word in words if _NAME_COLUMN.match(word)), None)
        if name and self._format.audience_column is None and (_ID_COLUMN.fullmatch(first) or not first.strip()):
            ignored = tuple(word for word in (first, *words) if word != name)
            advice = f"CsvFormat(audience_column={name!r}, ignore_columns={ignored!r})"
        else:
            advice = f"CsvFormat(ignore_columns={words!r}), or audience_column if it holds the audience's name"
        msg = f"Column {index + 1} of the header, {text!r}, is not a day. Set {advice}."
        raise TrendsCsvError(msg)

    def _reject_title(self, header: Sequence[str]) -> None:
        """Raise an error if a later line appears to be the header."""
        dates = self._count_dates(header)
        for _ in range(_MAX_TITLE_LINES):
            before = self._lines.number
            if (row := self._next_row()) is None:
                return
            if self._count_dates(row) > dates:
                msg = (
                    f"Line {self._header_line} is not a header; line {self._lines.number} appears to be it. "
                    f"Set CsvFormat(skip_lines={before})."
                )
                raise TrendsCsvError(msg)

    def _count_dates(self, cells: Sequence[str]) -> int:
        return sum(_parse_moment(cell, self._format.date_formats) is not None for cell in cells)


class _Lines:
    """The lines of a file, with their ends: counted, bounded in length, and one of them can be taken back.

    :ivar number: of the last line.
    :ivar last: the last line.
    :ivar is_ended: whether the last line ends with a newline, or with the mark of the file's end.
    """

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        if codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"
        text = io.TextIOWrapper(io.BufferedReader(_Raw(stream), 1 << 18), encoding=encoding, newline="")
        self._read_line = text.readline
        self._pushed = False
        self.number = 0
        self.last = ""
        self.is_ended = True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._pushed:
            self._pushed = False
            return self.last
        line = self._read_line(MAX_LINE)
        if not line.endswith(("\n", "\r")):
            line = self._end(line)
        self.number += 1
        self.last = line
        return line

    def push_back(self) -> None:
        """Return the last line again."""
        self._pushed = True

    def _end(self, line: str) -> str:
        """Return the last line, which has no newline."""
        if len(line) >= MAX_LINE:
            msg = f"Line {self.number + 1} is longer than {MAX_LINE:,} characters: the file is not a trends CSV."
            raise TrendsCsvError(msg)
        text = line.rstrip(_END_MARK)
        if not text:
            raise StopIteration
        self.is_ended = text != line
        return text


def _is_blank(row: Sequence[str]) -> bool:
    return not any(cell.strip().strip(_END_MARK) for cell in row)


def _parse_moment(text: str, formats: Sequence[str]) -> datetime | None:
    text = text.strip()
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    for form in formats:
        with suppress(ValueError):
            return datetime.strptime(text, form)  # noqa: DTZ007 - a date has no time zone
    return None


def _count_pattern(csv_format: CsvFormat) -> re.Pattern[str] | None:
    """Return the pattern of a formatted count; None if the format has no option for it."""
    thousands, decimal = csv_format.thousands, csv_format.decimal
    if thousands is None and decimal is None:
        return None
    mark = f"[{_SPACES}]" if thousands == " " else re.escape(thousands or "")
    whole = rf"\d{{1,3}}({mark}\d{{3}})+|\d+" if thousands else r"\d+"
    decimals = rf"({re.escape(decimal)}0+)?" if decimal else ""
    return re.compile(rf"(?P<whole>{whole}){decimals}", re.ASCII)


def _count_hint(cell: str) -> str:
    """Return which option reads a cell, if one does."""
    if match := _GROUPED.fullmatch(cell):
        mark = " " if match["thousands"] in _SPACES else match["thousands"]
        decimal = f", decimal={match['decimal']!r}" if match["decimal"] else ""
        return f"Set CsvFormat(thousands={mark!r}{decimal}) if it has thousands separators."
    if match := _WITH_DECIMALS.fullmatch(cell):
        return f"Set CsvFormat(decimal={match['decimal']!r}) if it is a whole number."
    return ""


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
