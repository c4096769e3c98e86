"""The long table of audience trends: a row for each audience and day, in any database with a DB-API driver."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from typing import Any, ClassVar, TypeVar

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.csv import AudienceRow

_T = TypeVar("_T")

#: Rows of one ``executemany``, and audiences of one ``IN``: well below the limits of any driver.
BATCH = 10_000
AUDIENCES_OF_A_STATEMENT = 500

_IDENTIFIER = re.compile(r"[^\W\d]\w*")

_TYPES = {
    "audience": "TEXT NOT NULL",
    "snapshot_date": "DATE NOT NULL",
    "contacts": "BIGINT",
    "job_id": "TEXT NOT NULL",
    "loaded_at": "TIMESTAMP NOT NULL",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The table's columns.

    :param names: other names for ``audience``, ``snapshot_date``, ``contacts``, ``job_id``, ``loaded_at``.
    :param constants: further columns, and the text that each has in all rows.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.names) - set(_TYPES)):
            msg = f"columns names {unknown[0]!r}, which is no column of the load. They are {', '.join(_TYPES)}."
            raise InvalidExportError(msg)
        names = self.all
        for name in names:
            validate_identifier("column", name)
        if len(set(names)) < len(names):
            msg = f"columns gives two columns the same name: {', '.join(names)}."
            raise InvalidExportError(msg)

    def __getitem__(self, column: str) -> str:
        return self.names.get(column, column)

    def rendered(self, render: Callable[[str], str]) -> Columns:
        """Return the columns with the texts of the constants rendered."""
        return replace(self, constants={name: render(text) for name, text in self.constants.items()})

    @property
    def all(self) -> list[str]:
        """All names, in the order of a row."""
        return [*(self[column] for column in _TYPES), *self.constants]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendsTable:
    """The table, as most databases write it; its other methods take the cursor of a ``transaction``.

    :param name: ``table`` or ``schema.table``.
    :param quote: puts an identifier in the database's quotes.
    :param placeholder: how the driver marks a parameter: ``?`` or ``%s``.
    :raises InvalidExportError: the name is no identifier.
    """

    #: What follows the columns when the table is made.
    options: ClassVar[str] = ""

    name: str
    columns: Columns
    quote: Callable[[str], str]
    placeholder: str

    def __post_init__(self) -> None:
        for part in self.name.split("."):
            validate_identifier("table", part, whole=self.name)

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        """Yield a cursor; what is done with it is done at the end, or not at all."""
        with closing(connection.cursor()) as cursor:
            try:
                yield cursor
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    def create(self, cursor: Any) -> None:
        """Make the table if it is not there."""
        types = [*_TYPES.values(), *["TEXT NOT NULL"] * len(self.columns.constants)]
        columns = ", ".join(f"{self.quote(name)} {kind}" for name, kind in zip(self.columns.all, types, strict=True))
        key = ", ".join(self.quote(self.columns[column]) for column in ("audience", "snapshot_date"))
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {self.quoted} ({columns}, PRIMARY KEY ({key})){self.options}")

    def lock(self, cursor: Any) -> None:
        """Keep other loads out until the end of the transaction, where the database does not by itself."""

    def replace(
        self,
        cursor: Any,
        audiences: Sequence[str],
        timeframe: Timeframe,
        days: Sequence[date],
        rows: Iterable[AudienceRow],
        *,
        job_id: str,
        loaded_at: datetime,
    ) -> int:
        """Put rows in the place of all that the table has of these audiences on the days of the timeframe.

        :param days: which the sizes of a row are of, in their order.
        :returns: how many rows the table has of them now.
        """
        self.lock(cursor)
        self.delete(cursor, audiences, timeframe)
        return self.insert(cursor, days, rows, job_id=job_id, loaded_at=loaded_at)

    def delete(self, cursor: Any, audiences: Sequence[str], timeframe: Timeframe) -> None:
        """Delete the rows of these audiences on these days."""
        days = [self.parameter(timeframe.start), self.parameter(timeframe.end)]
        audience, day = self.quote(self.columns["audience"]), self.quote(self.columns["snapshot_date"])
        mark = self.placeholder
        for some in batches(audiences, AUDIENCES_OF_A_STATEMENT):
            marks = ", ".join([mark] * len(some))
            cursor.execute(
                f"DELETE FROM {self.quoted} WHERE {day} BETWEEN {mark} AND {mark} AND {audience} IN ({marks})",  # noqa: S608
                [*days, *some],
            )

    def insert(
        self, cursor: Any, days: Sequence[date], rows: Iterable[AudienceRow], *, job_id: str, loaded_at: datetime
    ) -> int:
        """Insert the sizes of some audiences on some days, and return how many rows that made."""
        statement = f"{self.insert_into} VALUES ({', '.join([self.placeholder] * len(self.columns.all))})"
        rest = (job_id, self.parameter(loaded_at), *self.columns.constants.values())
        parameters = [self.parameter(day) for day in days]
        long_rows = (
            (row.audience, day, contacts, *rest)
            for row in rows
            for day, contacts in zip(parameters, row.contacts, strict=True)
        )
        count = 0
        for some in batches(long_rows, BATCH):
            cursor.executemany(statement, some)
            count += len(some)
        return count

    def parameter(self, value: date) -> Any:
        """Return a date or a datetime as the driver takes it."""
        return value

    @property
    def quoted(self) -> str:
        return ".".join(map(self.quote, self.name.split(".")))

    @property
    def insert_into(self) -> str:
        return f"INSERT INTO {self.quoted} ({', '.join(map(self.quote, self.columns.all))})"


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield the items in lists of at most ``size``."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def validate_identifier(what: str, name: str, *, whole: str | None = None) -> None:
    """Refuse what is no plain identifier: quoted or not, it would be one that nobody can type."""
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        msg = f"{what} {whole or name!r} is no {what} name. Use letters, digits and underscores" + (
            ", as table or schema.table." if what == "table" else "."
        )
        raise InvalidExportError(msg)
