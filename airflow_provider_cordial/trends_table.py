"""The long table of audience trends: a row for each audience and day, in any database with a DB-API driver.

All statements that replace the rows of one export are here; a transaction around them is the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any, TypeVar

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.timeframe import Timeframe

COLUMNS = ("audience", "snapshot_date", "contacts", "job_id", "loaded_at")

#: Rows of one ``executemany``, and audiences of one ``IN``: well below the limits of any driver.
BATCH = 10_000
AUDIENCES_OF_A_STATEMENT = 500

_T = TypeVar("_T")

_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class TrendsTable:
    """The table, as one database writes it.

    :param name: ``table`` or ``schema.table``.
    :param quote: puts an identifier in the database's quotes.
    :param placeholder: how the driver marks a parameter: ``?`` or ``%s``.
    :param as_parameter: makes a date or a datetime what the driver takes.
    :raises InvalidExportError: the name is no identifier.
    """

    name: str
    quote: Callable[[str], str]
    placeholder: str
    as_parameter: Callable[[date], Any]

    def __post_init__(self) -> None:
        if not all(_IDENTIFIER.fullmatch(part) for part in self.name.split(".")):
            msg = (
                f"table {self.name!r} is no table name. Use letters, digits and underscores, as table or schema.table."
            )
            raise InvalidExportError(msg)

    def create(self, cursor: Any) -> None:
        """Make the table if it is not there."""
        types = ("TEXT NOT NULL", "DATE NOT NULL", "BIGINT", "TEXT NOT NULL", "TIMESTAMP NOT NULL")
        columns = ", ".join(f"{self.quote(name)} {kind}" for name, kind in zip(COLUMNS, types, strict=True))
        key = ", ".join(map(self.quote, COLUMNS[:2]))
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._quoted} ({columns}, PRIMARY KEY ({key}))")

    def delete(self, cursor: Any, audiences: Sequence[str], timeframe: Timeframe) -> None:
        """Delete the rows of these audiences on these days."""
        days = [self.as_parameter(timeframe.start), self.as_parameter(timeframe.end)]
        audience, day, mark = self.quote("audience"), self.quote("snapshot_date"), self.placeholder
        for some in _batches(audiences, AUDIENCES_OF_A_STATEMENT):
            marks = ", ".join([mark] * len(some))
            cursor.execute(
                f"DELETE FROM {self._quoted} WHERE {day} BETWEEN {mark} AND {mark} AND {audience} IN ({marks})",  # noqa: S608
                [*days, *some],
            )

    def insert(
        self,
        cursor: Any,
        rows: Iterable[tuple[str, date, int | None]],
        *,
        job_id: str,
        loaded_at: datetime,
    ) -> int:
        """Insert rows of audience, day and contacts, and return how many they were."""
        columns = ", ".join(map(self.quote, COLUMNS))
        marks = ", ".join([self.placeholder] * len(COLUMNS))
        statement = f"INSERT INTO {self._quoted} ({columns}) VALUES ({marks})"  # noqa: S608
        moment = self.as_parameter(loaded_at)
        count = 0
        for some in _batches(rows, BATCH):
            cursor.executemany(
                statement,
                [(audience, self.as_parameter(day), contacts, job_id, moment) for audience, day, contacts in some],
            )
            count += len(some)
        return count

    @property
    def _quoted(self) -> str:
        return ".".join(map(self.quote, self.name.split(".")))


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
