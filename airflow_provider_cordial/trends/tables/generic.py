"""DbApiTable: the table in any database that has a DbApiHook and transactions."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from itertools import chain, groupby, islice
from typing import Any, ClassVar, TypeVar

from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_cordial.exceptions import (
    TableError,
    TransientTableError,
    UnsuitableTableError,
    UnsupportedWarehouseError,
)
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.columns import Columns
from airflow_provider_cordial.trends.corrections import (
    KnownCell,
    check_change,
    corrections_columns,
    corrections_table,
    measure,
)
from airflow_provider_cordial.trends.csv import AudienceRow
from airflow_provider_cordial.trends.tables.base import Cell, TrendsTable
from airflow_provider_cordial.trends.tables.errors import (
    corrections_error,
    error_code,
    get_hook,
    is_driver_error,
    table_error,
    unsupported,
)
from airflow_provider_cordial.trends.tables.keys import check_keys
from airflow_provider_cordial.trends.tables.staging import Staging

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Rows per ``executemany``, and audiences per ``IN``: far below the limits of any driver.
BATCH = 10_000
AUDIENCES_PER_STATEMENT = 500

#: The limits of an INSERT with several rows: those of SQL Server, which has the lowest.
ROWS_PER_INSERT = 1000
PARAMETERS_PER_INSERT = 2000

#: Types of connections to databases in which an INSERT has one row; their drivers send many at a time.
_ONE_ROW_PER_INSERT = frozenset({"hana", "jdbc", "odbc", "oracle", "teradata"})

#: How often a load that the database ended for another one is run, and the longest first pause in seconds.
ATTEMPTS = 5
PAUSE = 0.2


class DbApiTable(TrendsTable):
    """The table as most databases support it: one transaction that deletes and inserts, whatever the keys are.

    :raises InvalidConnectionError: the connection's hook is not a ``DbApiHook``.
    :raises UnsupportedWarehouseError: the hook cannot switch autocommit off.
    """

    supports_corrections = True

    #: Types of the columns when the table is created.
    types: ClassVar[Mapping[str, str]] = {
        "audience": "TEXT",
        "snapshot_date": "DATE",
        "contacts": "BIGINT",
        "job_id": "TEXT",
        "loaded_at": "TIMESTAMP",
        "scope": "TEXT",
        "constant": "TEXT",
    }

    #: Follows the columns when the table is created, and when its corrections table is, which has no key.
    options: ClassVar[str] = ""
    corrections_options: ClassVar[str] = ""

    #: What the code of an error begins with if the database ended the load for another one: it runs again at once.
    conflicts: ClassVar[tuple[str, ...]] = ("40",)

    #: What the code of an error begins with if a later load may succeed.
    transient: ClassVar[tuple[str, ...]] = ("08", "40", "OperationalError", "InterfaceError")

    #: Whether transactions are begun by a statement, whatever autocommit is.
    begins_transactions: ClassVar[bool] = False
    begin: ClassVar[str] = "BEGIN TRANSACTION"

    audiences_per_statement: ClassVar[int] = AUDIENCES_PER_STATEMENT

    #: Arguments of the hook.
    hook_params: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, conn_id: str, name: str, columns: Columns, *, create: bool = False, staging: Staging | None = None
    ) -> None:
        super().__init__(conn_id, name, columns, create=create, staging=staging)
        hook = get_hook(conn_id, dict(self.hook_params))
        if not isinstance(hook, DbApiHook):
            msg = (
                f"Connection {conn_id!r} is not a SQL database connection: its hook is {type(hook).__name__}. Use a "
                "connection to a database, or register a table class with trends.register_table."
            )
            raise UnsupportedWarehouseError(msg)
        if not self.begins_transactions and not hook.supports_autocommit:
            self._refuse(hook, "its hook cannot switch autocommit off")
        self.hook: Any = hook
        self.placeholder = hook.placeholder
        #: Whether one of the unique keys is exactly that of a row; known after ``check``.
        self.has_key = False

    def load(self, batch: TrendsBatch) -> LoadResult:
        return again_after_conflicts(
            lambda: self._load_once(batch),
            lambda error: isinstance(error, TransientTableError) and self._is_conflict(error),
            f"Another load of {self.name} was first; loading again",
        )

    def _load_once(self, batch: TrendsBatch) -> LoadResult:
        with self.connection() as connection, self.transaction(connection) as cursor:
            self.create_tables(cursor, batch)
            self.lock(cursor)
            self.check_tables(cursor, batch)
            return self.replace(cursor, batch) if batch.cells else LoadResult.of_new(batch)

    def cells(self, audiences: Sequence[str], timeframe: Timeframe) -> Iterator[Cell]:
        wanted = set(audiences)
        audience, day, contacts = map(self.quote, self.columns.of_table[:3])
        with self.connection() as connection, self.transaction(connection) as cursor:
            if self.create_if_missing:
                self.create(cursor)
            for where, parameters in self.ranges(timeframe, audiences):
                cursor.execute(f"SELECT {audience}, {day}, {contacts} FROM {self.quoted} WHERE {where}", parameters)
                while rows := cursor.fetchmany(BATCH):
                    for name, moment, number in rows:
                        # A column may ignore case or accents.
                        if name in wanted:
                            yield name, date.fromisoformat(str(moment)[:10]), None if number is None else int(number)

    def probe(self) -> None:
        with self.connection() as connection, self.transaction(connection) as cursor:
            # With an alias: SQLite takes an unknown column in quotes for a text.
            names = ", ".join(f"old.{self.quote(name)}" for name in self.columns.of_table)
            cursor.execute(f"SELECT {names} FROM {self.quoted} old WHERE 1 = 0")
            cursor.fetchall()
            self.check(cursor)

    def _is_conflict(self, error: TableError) -> bool:
        cause = error.__cause__
        return cause is not None and self.code(cause).startswith(self.conflicts)

    def code(self, error: BaseException) -> str:
        """Return what ``conflicts`` and ``transient`` are compared with."""
        return error_code(error)

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Yield a connection that commits only when asked.

        :raises TableError: the driver raised an error.
        """
        try:
            with closing_quietly(self.hook.get_conn()) as connection:
                self.prepare(connection)
                yield connection
        except Exception as error:
            if not is_driver_error(error):
                raise
            is_transient = self.code(error).startswith(self.transient)
            raise table_error(self.name, self.conn_id, error, is_transient=is_transient) from error

    def prepare(self, connection: Any) -> None:
        """Set up a new connection: nothing is committed automatically.

        :raises UnsupportedWarehouseError: autocommit stays on.
        """
        if self.begins_transactions:
            return
        self.hook.set_autocommit(connection, False)
        if self.hook.get_autocommit(connection):
            self._refuse(self.hook, "autocommit stays on")

    def _refuse(self, hook: DbApiHook, reason: str) -> None:
        raise unsupported(self.conn_id, type(hook).__name__, reason)

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        """Yield a cursor; its statements take effect at the end, or not at all."""
        with closing_quietly(connection.cursor()) as cursor:
            try:
                if self.begins_transactions:
                    cursor.execute(self.begin)
                yield cursor
                if self.begins_transactions:
                    cursor.execute("COMMIT")
                else:
                    connection.commit()
            except BaseException:
                # A rollback that fails must not hide the error that caused it.
                with suppress(Exception):
                    if self.begins_transactions:
                        cursor.execute("ROLLBACK")
                    else:
                        connection.rollback()
                raise

    def create_tables(self, cursor: Any, batch: TrendsBatch) -> None:
        """Create what the load writes into, if that is to be created."""
        if self.create_if_missing:
            self.create(cursor)
            if batch.corrections:
                cursor.execute(self.create_corrections(cursor))

    def check_tables(self, cursor: Any, batch: TrendsBatch) -> None:
        """Check what the load writes into, before anything is deleted.

        :raises TableError: a table is missing, or does not fit.
        """
        self.check(cursor)
        if batch.corrections:
            self.check_corrections(cursor)

    def create(self, cursor: Any) -> None:
        """Create the table if it does not exist."""
        columns = [f"{self.quote(name)} {kind}" for name, kind in self.column_types(cursor).items()]
        key = ", ".join(map(self.quote, self.columns.key))
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {self.quoted} ({', '.join(columns)}, PRIMARY KEY ({key})){self.options}"
        )

    def create_corrections(self, cursor: Any) -> str:
        """Return the statement that creates the corrections table if it does not exist."""
        types = self.column_types(cursor)
        columns = [f"{self.quote(name)} {types[like]}" for name, like in corrections_columns(self.columns).items()]
        return f"CREATE TABLE IF NOT EXISTS {self.corrections} ({', '.join(columns)}){self.corrections_options}"

    def check_corrections(self, cursor: Any) -> None:
        """Check that the corrections table can be written.

        :raises TableError: it is missing, or lacks a column.
        """
        names = ", ".join(map(self.quote, corrections_columns(self.columns)))
        try:
            cursor.execute(f"SELECT {names} FROM {self.corrections} WHERE 1 = 0")
            cursor.fetchall()
        except Exception as error:
            if not is_driver_error(error) or self.code(error).startswith(self.transient):
                raise
            raise corrections_error(self.name, self.conn_id, error, self.create_corrections(cursor)) from error

    def column_types(self, _cursor: Any) -> dict[str, str]:
        """Return the definition of each column of a new table."""
        names = {self.columns[column]: column for column in self.types if column not in ("scope", "constant")}
        names |= dict.fromkeys(self.columns.scope, "scope") | dict.fromkeys(self.columns.constants, "constant")
        return {
            name: self.types[column] + ("" if column == "contacts" else " NOT NULL") for name, column in names.items()
        }

    def lock(self, cursor: Any) -> None:
        """Exclude other loads until the end of the transaction, if the database does not do so itself."""

    def check(self, cursor: Any) -> None:
        """Check the table before anything is deleted.

        :raises UnsuitableTableError: the load would delete rows that are not its own, or conflict with them.
        """
        self.has_key = check_keys(self.name, self.columns, self.unique_keys(cursor))

    def unique_keys(self, _cursor: Any) -> Iterable[Collection[str]]:
        """Return the columns of each unique key of the table; nothing if the database cannot be asked."""
        return ()

    def replace(self, cursor: Any, batch: TrendsBatch) -> LoadResult:
        """Replace the batch's audiences and days by its rows."""
        change = None
        if batch.max_change is not None:
            # Read twice: nothing is written before the whole change is known.
            measured, largest = measure(self._known_cells(cursor, batch))
            change = check_change(self.name, measured, batch, lambda: largest)
        result = LoadResult(change=change)
        for rows in _parts(batch):
            result += self._replace_some(cursor, batch, rows)
        return result

    def _known_cells(self, cursor: Any, batch: TrendsBatch) -> Iterator[KnownCell]:
        """Yield the cells of which table and batch have a number."""
        for rows in _parts(batch):
            old = self._read(cursor, batch, [row.audience for row in rows])
            for row in rows:
                for day, contacts in zip(batch.days, row.contacts, strict=True):
                    known = _known(old, row.audience, day)
                    if known and contacts is not None:
                        yield KnownCell(row.audience, day, int(known[2]), contacts)

    def _replace_some(self, cursor: Any, batch: TrendsBatch, rows: Sequence[AudienceRow]) -> LoadResult:
        names = [row.audience for row in rows]
        old = self._read(cursor, batch, names)
        shared = tuple(self.shared_values(batch))
        new: list[Sequence[Any]] = []
        corrections: list[Sequence[Any]] = []
        counts: list[str] = []
        for row in rows:
            for day, contacts in zip(batch.days, row.contacts, strict=True):
                known = _known(old, row.audience, day)
                number = None if known is None else int(known[2])
                is_kept = contacts is None and number is not None and batch.on_blank == "keep"
                # A kept row is the one that was there, with the job that delivered its number.
                new.append(known if is_kept and known else (row.audience, self.parameter(day), contacts, *shared))
                counts.append(classify(contacts, number, keeps=batch.on_blank == "keep"))
                if batch.corrections and not is_kept and number not in (None, contacts):
                    cell = (row.audience, self.parameter(day), number, contacts)
                    corrections.append((*cell, *self.correction_values(batch)))
        for where, parameters in self.ranges(batch.days, names):
            cursor.execute(f"DELETE FROM {self.quoted} WHERE {where}", parameters)
        self._insert_rows(cursor, self.quoted, self.columns.of_table, new)
        self._insert_rows(cursor, self.corrections, [*corrections_columns(self.columns)], corrections)
        self.verify(cursor, batch.days, names)
        return LoadResult(**{name: counts.count(name) for name in set(counts)})

    def _insert_rows(self, cursor: Any, target: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        insert, width = f"INSERT INTO {target} ({', '.join(map(self.quote, names))})", len(names)
        marks = f"({', '.join([self.placeholder] * width)})"
        if self.hook.supports_executemany or getattr(self.hook, "conn_type", "") in _ONE_ROW_PER_INSERT:
            cursor.executemany(f"{insert} VALUES {marks}", rows)
            return
        # Many drivers send a request per row of executemany.
        for some in batches(rows, min(ROWS_PER_INSERT, PARAMETERS_PER_INSERT // width)):
            cursor.execute(f"{insert} VALUES {', '.join([marks] * len(some))}", [*chain.from_iterable(some)])

    def _read(self, cursor: Any, batch: TrendsBatch, audiences: Sequence[str]) -> dict[tuple[str, str], list[Any]]:
        """Return the rows that the table has, by audience and day.

        :raises UnsuitableTableError: the table has rows that it cannot tell from those of the batch.
        """
        requested = {(name, day.isoformat()) for name in audiences for day in batch.days}
        found: dict[tuple[str, str], list[Any]] = {}
        names = ", ".join(map(self.quote, self.columns.of_table))
        for where, parameters in self.ranges(batch.days, audiences):
            cursor.execute(f"SELECT {names} FROM {self.quoted} WHERE {where}", parameters)
            for row in cursor.fetchall():
                cell = (row[0], str(row[1])[:10])
                if cell not in requested:
                    raise self.namesake(str(row[0]))
                found.setdefault(cell, []).append(tuple(row))
        return found

    def namesake(self, audience: str) -> UnsuitableTableError:
        """Return the error for a row that the database takes for one of another audience."""
        msg = (
            f"Table {self.name!r} has rows of audience {audience!r}, which it does not tell from another audience of "
            f"this file: the collation of column {self.columns['audience']!r} ignores case, accents, or blanks. The "
            "rows of the table are as before. Give the column a binary collation."
        )
        return UnsuitableTableError(msg, table=self.name)

    def verify(self, cursor: Any, days: Sequence[date], audiences: Sequence[str]) -> None:
        """Compare the number of rows that the table has of audiences and days with that of the file.

        :raises TableError: they differ.
        """
        count = 0
        for where, parameters in self.ranges(days, audiences):
            cursor.execute(f"SELECT COUNT(*) FROM {self.quoted} WHERE {where}", parameters)
            count += cursor.fetchall()[0][0]
        if count != len(days) * len(audiences):
            msg = (
                f"Table {self.name!r} would have {count} of {len(days) * len(audiences)} rows of the file. The rows "
                "of the table are as before. Check its triggers and its policies for rows."
            )
            raise TableError(msg, table=self.name)

    def ranges(
        self, days: Iterable[date], audiences: Iterable[str], prefix: str = ""
    ) -> Iterator[tuple[str, list[Any]]]:
        """Yield conditions that together select the rows of audiences and days in the scope, and their parameters.

        :param prefix: of the columns: the alias of the table, and a dot.
        """
        mark = self.placeholder
        audience, day = (prefix + self.quote(self.columns[column]) for column in ("audience", "snapshot_date"))
        scope, texts = self.in_scope(prefix)
        some = list(batches(audiences, self.audiences_per_statement))
        for first, last in day_ranges(days):
            for names in some:
                condition, parameters = self.is_one_of(audience, names)
                where = f"{day} BETWEEN {mark} AND {mark} AND {condition}{scope}"
                yield where, [self.parameter(first), self.parameter(last), *parameters, *texts]

    def is_one_of(self, column: str, audiences: Sequence[str]) -> tuple[str, list[Any]]:
        """Return a condition on the audience, and its parameters."""
        return f"{column} IN ({', '.join([self.placeholder] * len(audiences))})", [*audiences]

    def in_scope(self, prefix: str = "") -> tuple[str, list[str]]:
        """Return what follows a condition to limit it to the scope, and its parameters."""
        names = (prefix + self.quote(name) for name in self.columns.scope)
        return "".join(f" AND {name} = {self.placeholder}" for name in names), [*self.columns.scope.values()]

    def shared_values(self, batch: TrendsBatch) -> list[Any]:
        """Return what is the same in all rows: job, load time, scope, and constants."""
        return [batch.job_id, self.parameter(batch.loaded_at), *self.columns.shared.values()]

    def correction_values(self, batch: TrendsBatch) -> list[Any]:
        """Return what is the same in all corrections: job, load time, and scope."""
        return [batch.job_id, self.parameter(batch.loaded_at), *self.columns.scope.values()]

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
    def corrections(self) -> str:
        """The name of the corrections table, in quotes."""
        return ".".join(map(self.quote, corrections_table(self.name).split(".")))

    def insert_into(self, target: str, count: int | None = None) -> str:
        """Return the beginning of an INSERT into the first columns, by default all."""
        return f"INSERT INTO {target} ({', '.join(map(self.quote, self.columns.of_table[:count]))})"


def again_after_conflicts(
    run: Callable[[], _T],
    is_conflict: Callable[[Exception], bool],
    text: str,
    *,
    attempts: int = ATTEMPTS,
    longest_pause: float = math.inf,
) -> _T:
    """Return what a function returns; it is called again if the database ended it for another load.

    :param text: what is logged before another attempt.
    :param longest_pause: between two attempts, in seconds.
    """
    for attempt in range(1, attempts + 1):
        try:
            return run()
        except Exception as error:
            if attempt == attempts or not is_conflict(error):
                raise
            log.info("%s (%d)", text, attempt)
            time.sleep(random.uniform(0, min(PAUSE * 2**attempt, longest_pause)))  # noqa: S311 - not a secret
    raise AssertionError


@contextmanager
def closing_quietly(resource: Any) -> Iterator[Any]:
    """Close a connection or cursor; that must not hide the error that ended the load, nor turn a commit into one."""
    try:
        yield resource
    finally:
        with suppress(Exception):
            resource.close()


def classify(contacts: int | None, known: int | None, *, keeps: bool) -> str:
    """Return the field of ``LoadResult`` in which a cell counts."""
    if contacts is None:
        return "kept" if keeps and known is not None else "blank"
    if known is None:
        return "new"
    return "same" if contacts == known else "corrected"


def _parts(batch: TrendsBatch) -> Iterator[list[AudienceRow]]:
    """Yield the rows in the parts that are read and replaced at a time."""
    return batches(batch.rows, max(1, min(AUDIENCES_PER_STATEMENT, BATCH // max(1, len(batch.days)))))


def _known(old: Mapping[tuple[str, str], Sequence[Any]], audience: str, day: date) -> Any | None:
    """Return the row with a number that the table has of a cell."""
    return next((row for row in old.get((audience, day.isoformat()), ()) if row[2] is not None), None)


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
