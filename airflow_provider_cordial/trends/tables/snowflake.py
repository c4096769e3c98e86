"""SnowflakeTable: a Parquet file through a temporary stage, then one short transaction that compares and writes."""

from __future__ import annotations

import logging
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.exceptions import InvalidExportError, TableError, TransientTableError
from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.columns import Columns
from airflow_provider_cordial.trends.corrections import corrections_table
from airflow_provider_cordial.trends.tables.errors import error_code, is_driver_error, table_error
from airflow_provider_cordial.trends.tables.generic import closing_quietly
from airflow_provider_cordial.trends.tables.rows import write_parquet
from airflow_provider_cordial.trends.tables.staged import STAGED_COLUMNS, CopiedTable
from airflow_provider_cordial.trends.tables.staging import Staging

log = logging.getLogger(__name__)

_FILE = "trends.parquet"

#: database.schema.table
_MOST_PARTS = 3

#: The role lacks a privilege.
_NO_PRIVILEGE = "3001"

#: The longest query tag, in characters.
_QUERY_TAG = 2000

#: What the path of a stage may contain without quotes.
_UNSAFE_IN_PATH = re.compile(r"[^A-Za-z0-9_./-]")

_GRANTS = (
    "Grant the role of the connection USAGE on the warehouse, the database, and the schema, and SELECT, INSERT, and "
    "DELETE on the table."
)
_CREATE_GRANT = " create_table=True also needs CREATE TABLE on the schema, even if the table exists."
_NO_SCHEMA = "Set the database and the schema of the connection, or load into database.schema.table."

#: What to do about an error, by its code.
_ADVICE = {
    "606": "Set the warehouse of the connection, and grant its role USAGE on it.",
    "904": (
        "Correct the columns of the load or of the table. Names are upper case in Snowflake unless they were created "
        'in quotes: a column that was created as "audience" cannot be loaded.'
    ),
    "2003": f"create_table=True creates a missing table. If it exists: {_GRANTS}",
    "2043": f"Correct the database and the schema of the table. If they exist: {_GRANTS}",
    _NO_PRIVILEGE: _GRANTS,
    "90105": _NO_SCHEMA,
    "90106": _NO_SCHEMA,
    "390100": "Correct the login and the password or the key of the connection.",
}


class SnowflakeTable(CopiedTable):
    """The table in Snowflake.

    :raises InvalidExportError: the name has too many parts, two columns differ only in case, or there is a staging.
    """

    types = {  # noqa: RUF012
        "audience": "VARCHAR",
        "snapshot_date": "DATE",
        "contacts": "NUMBER(38, 0)",
        "job_id": "VARCHAR",
        "loaded_at": "TIMESTAMP_NTZ",
        "scope": "VARCHAR",
        "constant": "VARCHAR",
    }
    begins_transactions = True
    begin = "BEGIN"
    create_temporary = "CREATE TEMPORARY TABLE"
    #: Too many loads waited for the table.
    conflicts = ("625",)
    #: An internal error, a canceled statement, a timeout, an expired session, and what the client cannot reach.
    transient = (*conflicts, "603", "604", "630", "2500", "251011", "251012", "253003", "39011")

    def __init__(
        self, conn_id: str, name: str, columns: Columns, *, create: bool = False, staging: Staging | None = None
    ) -> None:
        _validate(columns, staging or Staging())
        super().__init__(conn_id, name, columns, create=create, staging=staging)
        self._schema, _, self._table = name.rpartition(".")
        self._folder = f"@~/cordial/{_UNSAFE_IN_PATH.sub('_', self.staging.owner)}/"
        self.hook.session_parameters = {
            "QUERY_TAG": f"cordial:{self.staging.owner}"[:_QUERY_TAG],
            **self._session_parameters(),
            # Explicit transactions only, and literals that are read in one way.
            "AUTOCOMMIT": True,
            "DATE_INPUT_FORMAT": "AUTO",
            "TIMESTAMP_INPUT_FORMAT": "AUTO",
        }

    def validate_name(self, name: str) -> None:
        super().validate_name(name)
        if name.count(".") >= _MOST_PARTS:
            msg = f"Invalid table name {name!r}: expected table, schema.table, or database.schema.table."
            raise InvalidExportError(msg)

    def quote(self, name: str) -> str:
        # A plain name in upper case is the one that is meant without quotes, and may be a reserved word.
        return f'"{name.upper() if name.isascii() else name}"'

    @property
    def quoted(self) -> str:
        # The schema is the session's: the name also qualifies columns.
        return self.quote(self._table)

    @property
    def corrections(self) -> str:
        return self.quote(corrections_table(self._table))

    @contextmanager
    def connection(self) -> Iterator[Any]:
        try:
            with super().connection() as connection:
                yield connection
        except TableError as error:
            cause = error.__cause__
            advice = _ADVICE.get(error_code(cause)) if cause else None
            if cause is None or advice is None or isinstance(error, TransientTableError) or error.table != self.name:
                raise
            if self.create_if_missing and advice == _GRANTS:
                advice += _CREATE_GRANT
            raise table_error(self.name, self.conn_id, cause, is_transient=False, advice=advice) from cause

    def prepare(self, connection: Any) -> None:
        # A temporary table hides a table of the same name: theirs are new for each try, and nothing is dropped.
        suffix = uuid.uuid4().hex.upper()
        self.staged, self.changed, self._stage = (f"CORDIAL_{what}_{suffix}" for what in ("STAGED", "CHANGED", "STAGE"))
        if self._schema:
            with closing_quietly(connection.cursor()) as cursor:
                # For the temporary tables and the stage as well.
                cursor.execute(f"USE SCHEMA {'.'.join(map(self.quote, self._schema.split('.')))}")

    def _load_once(self, batch: TrendsBatch) -> LoadResult:
        with self.connection() as connection, closing_quietly(connection.cursor()) as cursor:
            # DDL would end a transaction, and a transaction that waits for a file would hold its locks.
            self.create_tables(cursor, batch)
            self.check_tables(cursor, batch)
            if not batch.cells:
                return LoadResult.of_new(batch)
            self.stage(cursor, batch)
            self._create_temporary(cursor, self.changed)
            with self.transaction(connection) as writing:
                result = self.merge(writing, batch)
            self._check_twice(cursor, batch)
            return result

    def unique_keys(self, cursor: Any) -> Iterable[list[str]]:
        # Not enforced, but they tell whose the rows are.
        keys: dict[str, list[str]] = {}
        for kind in ("PRIMARY", "UNIQUE"):
            cursor.execute(f"SHOW {kind} KEYS IN TABLE {self.quoted}")
            for row in _rows(cursor):
                keys.setdefault(row["constraint_name"], []).append(row["column_name"])
        return keys.values()

    def fill(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:  # noqa: ARG002 - never whole
        with tempfile.TemporaryDirectory(prefix="cordial-") as name:
            path = Path(name) / _FILE
            write_parquet(path, batch)
            with self._location(cursor) as location:
                source = str(path).replace("\\", "\\\\").replace("'", "\\'")
                cursor.execute(f"PUT 'file://{source}' {location} AUTO_COMPRESS = FALSE OVERWRITE = TRUE")
                return self._copy(cursor, target, f"{location}/{_FILE}")

    def _copy(self, cursor: Any, target: str, location: str) -> int:
        names = ", ".join(map(self.quote, self.columns.of_table[:STAGED_COLUMNS]))
        # By default a name that is \N would be NULL.
        cursor.execute(
            f'COPY INTO {target} ({names}) FROM (SELECT $1:"audience"::VARCHAR, $1:"snapshot_date"::DATE, '
            f'$1:"contacts"::NUMBER(38, 0) FROM {location}) FILE_FORMAT = (TYPE = PARQUET NULL_IF = ()) '
            "ON_ERROR = ABORT_STATEMENT"
        )
        # A file that was not found, or was skipped, is not an error.
        return sum(int(row["rows_loaded"]) for row in _rows(cursor) if row["status"] == "LOADED")

    @contextmanager
    def _location(self, cursor: Any) -> Iterator[str]:
        """Yield a stage for the file: a temporary one, which ends with the session, or a folder of the user's own."""
        try:
            cursor.execute(f"CREATE TEMPORARY STAGE {self._stage}")
        except Exception as error:
            if not is_driver_error(error) or error_code(error) != _NO_PRIVILEGE:
                raise
        else:
            yield f"@{self._stage}"
            return
        log.info("The role cannot create a stage in the schema of %s; using the stage of the user", self.name)
        # What a killed try left.
        cursor.execute(f"REMOVE {self._folder}")
        try:
            yield f"{self._folder}{uuid.uuid4().hex}"
        finally:
            with suppress(Exception):
                cursor.execute(f"REMOVE {self._folder}")

    def merge(self, cursor: Any, batch: TrendsBatch) -> LoadResult:
        result, found = self._compare(cursor, batch)
        if found["namesakes"]:
            raise self.namesake(self._find_namesake(cursor, batch))
        if found["pairs"] > batch.cells:
            self._make_unique(cursor, batch)
            result, found = self._compare(cursor, batch)
        result = self.review(cursor, batch, result, found)
        self._write(cursor, batch, matched=found["matched"], untouched=found["untouched"])
        return result

    def _make_unique(self, cursor: Any, batch: TrendsBatch) -> None:
        """Keep one row of each cell that the table has twice: the latest with a number."""
        old = ", ".join(f"old.{self.quote(name)}" for name in self.columns.of_table)
        cell = ", ".join(f"old.{self.quote(name)}" for name in self.columns.key[:2])
        audience, contacts, moment = (
            f"old.{self.quote(self.columns[column])}" for column in ("audience", "contacts", "loaded_at")
        )
        joined, parameters = self._joined(batch)
        cursor.execute(
            f"{self.insert_into(self.changed)} SELECT {old} {joined} WHERE {audience} IS NOT NULL "
            f"QUALIFY COUNT(*) OVER (PARTITION BY {cell}) > 1 AND ROW_NUMBER() OVER (PARTITION BY {cell} "
            f"ORDER BY CASE WHEN {contacts} IS NULL THEN 1 ELSE 0 END, {moment} DESC) = 1",
            parameters,
        )
        self._delete(cursor, batch, self.changed)
        self.insert_staged(cursor, batch, self.changed)
        # TRUNCATE would commit.
        cursor.execute(f"DELETE FROM {self.changed}")

    def _write(self, cursor: Any, batch: TrendsBatch, *, matched: int, untouched: int) -> None:
        if untouched == batch.cells:
            return
        source = self.staged
        if untouched:
            source = self.changed
            self._keep_changed(cursor, batch)
        if matched > untouched:
            self._delete(cursor, batch, source)
        self.insert_staged(cursor, batch, source)
        self._check_written(cursor, batch)

    def _keep_changed(self, cursor: Any, batch: TrendsBatch) -> None:
        joined, parameters = self._joined(batch)
        untouched, values = self._untouched(batch)
        row, shared = self._row(batch, "new.")
        cursor.execute(
            f"{self.insert_into(self.changed)} SELECT {row} {joined} WHERE CASE WHEN {untouched} THEN 1 ELSE 0 END = 0",
            [*shared, *parameters, *values],
        )

    def _delete(self, cursor: Any, batch: TrendsBatch, source: str) -> None:
        """Delete the cells of a temporary table; the days as literals tell Snowflake which partitions to read."""
        audience, day = (f"{self.quoted}.{self.quote(name)}" for name in self.columns.key[:2])
        scope, texts = self.in_scope(f"{self.quoted}.")
        mark = self.placeholder
        cursor.execute(
            f"DELETE FROM {self.quoted} USING {source} AS new WHERE {audience} = new.{self.quote(self.columns.key[0])} "
            f"AND {day} = new.{self.quote(self.columns.key[1])} AND {day} BETWEEN {mark} AND {mark}{scope}",
            [self.parameter(min(batch.days)), self.parameter(max(batch.days)), *texts],
        )

    def insert_staged(self, cursor: Any, batch: TrendsBatch, source: str) -> int:
        row, shared = (
            self._row(batch) if source == self.staged else (", ".join(map(self.quote, self.columns.of_table)), [])
        )
        # Rows of a day together: a later load, or a query of some days, reads few partitions.
        order = self.quote(self.columns["snapshot_date"])
        cursor.execute(f"{self.insert_into(self.quoted)} SELECT {row} FROM {source} ORDER BY {order}", shared)
        return self.affected(cursor)

    def _row(self, batch: TrendsBatch, prefix: str = "") -> tuple[str, list[Any]]:
        """Return a whole row from the file, and the parameters for what is the same in all rows."""
        shared = self.shared_values(batch)
        names = [prefix + self.quote(name) for name in self.columns.of_table[:STAGED_COLUMNS]]
        return ", ".join([*names, *[self.placeholder] * len(shared)]), shared

    def _check_written(self, cursor: Any, batch: TrendsBatch) -> None:
        """Compare the table with the file once more, before the commit: nothing else excludes other loads.

        :raises TransientTableError: another load changed the same cells meanwhile.
        :raises TableError: the table has fewer rows than the file.
        """
        _, found = self._compare(cursor, batch)
        if found["matched"] < batch.cells:
            msg = (
                f"Table {self.name!r} would have {found['matched']} of {batch.cells} rows of the file. The rows of the "
                "table are as before. Check its policies for rows."
            )
            raise TableError(msg, table=self.name)
        if not found["untouched"] == found["pairs"] == batch.cells:
            msg = (
                f"Another load changed the same rows of table {self.name!r} at the same time. The rows of the table "
                "are as the other load left them. Retry the task, or run these loads in a pool of one slot."
            )
            raise TransientTableError(msg, table=self.name)

    def _check_twice(self, cursor: Any, batch: TrendsBatch) -> None:
        """Check after the commit that no other load inserted the same cells: neither of the two could see the other.

        :raises TransientTableError: the table has a cell twice.
        """
        joined, parameters = self._joined(batch)
        cursor.execute(f"SELECT COUNT(*) {joined}", parameters)
        if int(cursor.fetchall()[0][0]) > batch.cells:
            msg = (
                f"Another load inserted the same rows into table {self.name!r} at the same time: the table has some "
                "of them twice. Retry the task: it ends with one row each. Run these loads in a pool of one slot."
            )
            raise TransientTableError(msg, table=self.name)

    def _is_conflict(self, error: TableError) -> bool:
        # The only temporary errors without a cause are those of the two checks above.
        return error.__cause__ is None or super()._is_conflict(error)

    def _create_temporary(self, cursor: Any, name: str) -> None:
        columns = self.columns.of_table[: None if name == self.changed else STAGED_COLUMNS]
        names = ", ".join(map(self.quote, columns))
        cursor.execute(f"{self.create_temporary} {name} AS SELECT {names} FROM {self.quoted} WHERE 1 = 0")

    def bytes_of(self, column: str) -> str:
        return f"HEX_ENCODE({column})"

    def parameter(self, value: date) -> str:
        # With the zone, which a column without one ignores.
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        return value.isoformat()

    def _session_parameters(self) -> dict[str, Any]:
        found = BaseHook.get_connection(self.conn_id).extra_dejson.get("session_parameters")
        return {name.upper(): value for name, value in found.items()} if isinstance(found, dict) else {}


def _rows(cursor: Any) -> list[dict[str, Any]]:
    names = [column[0].lower() for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _validate(columns: Columns, staging: Staging) -> None:
    folded = [name.upper() for name in columns.of_table]
    if twice := next((name for name in columns.of_table if folded.count(name.upper()) > 1), None):
        msg = f"Duplicate column name {twice!r}: Snowflake ignores case. Give each column a name of its own."
        raise InvalidExportError(msg)
    if staging.location or staging.conn_id:
        msg = (
            f"Invalid staging {staging.location or staging.conn_id!r}: a load into Snowflake uses a temporary stage of "
            "its own. Remove staging and staging_conn_id."
        )
        raise InvalidExportError(msg)
