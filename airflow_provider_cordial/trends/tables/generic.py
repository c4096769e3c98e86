"""DbApiTable: the table in any database that has a DbApiHook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date
from itertools import groupby, islice
from typing import Any, ClassVar, TypeVar

from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.exceptions import InvalidConnectionError
from airflow_provider_cordial.trends.batch import TrendsBatch
from airflow_provider_cordial.trends.columns import Columns
from airflow_provider_cordial.trends.tables.base import TrendsTable

_T = TypeVar("_T")

#: Rows per ``executemany``, and audiences per ``IN``: far below the limits of any driver.
BATCH = 10_000
AUDIENCES_PER_STATEMENT = 500

_TYPES = ("TEXT NOT NULL", "DATE NOT NULL", "BIGINT", "TEXT NOT NULL", "TIMESTAMP NOT NULL")
_CONSTANT_TYPE = "TEXT NOT NULL"


class DbApiTable(TrendsTable):
    """The table as most databases support it: one transaction that deletes and inserts.

    :raises InvalidConnectionError: the connection's hook is not a ``DbApiHook``.
    """

    #: Follows the columns when the table is created.
    options: ClassVar[str] = ""

    def __init__(self, conn_id: str, name: str, columns: Columns, *, create: bool = False) -> None:
        super().__init__(conn_id, name, columns, create=create)
        hook = BaseHook.get_hook(conn_id)
        if not isinstance(hook, DbApiHook):
            msg = f"Connection {conn_id!r} is not a SQL database connection: its hook is {type(hook).__name__}."
            raise InvalidConnectionError(msg)
        self.hook = hook
        self.placeholder = hook.placeholder

    def load(self, batch: TrendsBatch) -> int:
        with closing(self.hook.get_conn()) as connection, self.transaction(connection) as cursor:
            if self.create_if_missing:
                self.create(cursor)
            return self.replace(cursor, batch)

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        """Yield a cursor; its statements take effect at the end, or not at all."""
        with closing(connection.cursor()) as cursor:
            try:
                yield cursor
                connection.commit()
            except BaseException:
                # A rollback that fails must not hide the error that caused it.
                with suppress(Exception):
                    connection.rollback()
                raise

    def create(self, cursor: Any) -> None:
        """Create the table if it does not exist."""
        types = [*_TYPES, *[_CONSTANT_TYPE] * len(self.columns.constants)]
        names = self.columns.of_table
        columns = ", ".join(f"{self.quote(name)} {kind}" for name, kind in zip(names, types, strict=True))
        key = ", ".join(self.quote(self.columns[column]) for column in ("audience", "snapshot_date"))
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {self.quoted} ({columns}, PRIMARY KEY ({key})){self.options}")

    def lock(self, cursor: Any) -> None:
        """Exclude other loads until the end of the transaction, if the database does not do so itself."""

    def replace(self, cursor: Any, batch: TrendsBatch) -> int:
        """Replace the batch's audiences and days by its rows, and return the number of rows."""
        self.lock(cursor)
        self.delete(cursor, batch)
        return self.insert(cursor, batch)

    def delete(self, cursor: Any, batch: TrendsBatch) -> None:
        """Delete the rows of the batch's audiences and days."""
        audience, day = self.quote(self.columns["audience"]), self.quote(self.columns["snapshot_date"])
        mark = self.placeholder
        for first, last in day_ranges(batch.days):
            for some in batches(batch.audiences, AUDIENCES_PER_STATEMENT):
                marks = ", ".join([mark] * len(some))
                cursor.execute(
                    f"DELETE FROM {self.quoted} WHERE {day} BETWEEN {mark} AND {mark} "  # noqa: S608
                    f"AND {audience} IN ({marks})",
                    [self.parameter(first), self.parameter(last), *some],
                )

    def insert(self, cursor: Any, batch: TrendsBatch) -> int:
        """Insert the rows of the batch, and return their number."""
        statement = f"{self.insert_into} VALUES ({', '.join([self.placeholder] * len(self.columns.of_table))})"
        rest = (batch.job_id, self.parameter(batch.loaded_at), *self.columns.constants.values())
        days = [self.parameter(day) for day in batch.days]
        long_rows = (
            (row.audience, day, contacts, *rest)
            for row in batch.rows
            for day, contacts in zip(days, row.contacts, strict=True)
        )
        count = 0
        for some in batches(long_rows, BATCH):
            cursor.executemany(statement, some)
            count += len(some)
        return count

    def parameter(self, value: date) -> Any:
        """Return a date or a datetime as the driver accepts it."""
        return value

    def quote(self, name: str) -> str:
        """Return an identifier in the database's quotes."""
        return str(self.hook.escape_word_format.format(name))

    @property
    def quoted(self) -> str:
        return ".".join(map(self.quote, self.name.split(".")))

    @property
    def insert_into(self) -> str:
        return f"INSERT INTO {self.quoted} ({', '.join(map(self.quote, self.columns.of_table))})"


def day_ranges(days: Iterable[date]) -> Iterator[tuple[date, date]]:
    """Yield the first and the last day of each gapless range, in order: days that did not come are in none."""
    ordered = sorted(days)
    for _, group in groupby(enumerate(ordered), lambda item: item[1].toordinal() - item[0]):
        some = [day for _, day in group]
        yield some[0], some[-1]


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield the items in lists of at most ``size``."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
