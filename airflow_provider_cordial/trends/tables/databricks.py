"""DatabricksTable: a Parquet file in a Unity Catalog volume, and one statement that replaces the rows in one commit."""

from __future__ import annotations

import logging
import re
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook
from urllib3.exceptions import HTTPError

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.exceptions import (
    InvalidConnectionError,
    InvalidExportError,
    TableError,
    UnsuitableTableError,
)
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.columns import DATA_COLUMNS, TABLE_COLUMNS, Columns
from airflow_provider_cordial.trends.corrections import (
    SHOWN,
    KnownCell,
    bounded,
    change_sums,
    corrections_columns,
    corrections_table,
    count_corrected,
    difference,
    is_corrected,
)
from airflow_provider_cordial.trends.tables.base import Cell, TrendsTable
from airflow_provider_cordial.trends.tables.errors import corrections_error, is_driver_error, table_error
from airflow_provider_cordial.trends.tables.generic import (
    AUDIENCES_PER_STATEMENT,
    again_after_conflicts,
    batches,
    closing_quietly,
    day_ranges,
)
from airflow_provider_cordial.trends.tables.rows import write_parquet
from airflow_provider_cordial.trends.tables.staging import Staging

log = logging.getLogger(__name__)

#: Types of the columns when the table is created; a key would not be enforced.
_TYPES = {
    "audience": "STRING",
    "snapshot_date": "DATE",
    "contacts": "BIGINT",
    "job_id": "STRING",
    "loaded_at": "TIMESTAMP",
}

#: ``/Volumes/catalog/schema/volume`` and folders in it: nothing ends a literal, or leads out of the volume.
_FOLDER = re.compile(r"/Volumes(/(?!\.+(/|$))[\w. -]+){3,}")

#: Parts of the name of a table: catalog, schema, table.
_MOST_PARTS = 3

#: How often a statement is sent while other loads of the table commit first, and the longest pause in seconds.
_ATTEMPTS = 12
_LONGEST_PAUSE = 30.0

#: Another commit was first. The exception's name is that of Delta Lake; the others are those of Databricks.
_CONFLICT = re.compile(
    r"\[DELTA_(CONCURRENT_|METADATA_CHANGED|PROTOCOL_CHANGED)|SQLSTATE: 2D521|"
    r"\b(Concurrent\w+|MetadataChanged|ProtocolChanged)Exception"
)

#: Classes of SQLSTATE for which a later load may succeed: connection, resources, operator, system.
_TRANSIENT = re.compile(r"SQLSTATE: (08|53|57|58)")

#: Errors of the connection to the warehouse, or to the storage of the volume.
_LOST = frozenset({"OperationalError", "InterfaceError", "RequestError", "MaxRetryDurationError", "UnsafeToRetryError"})

#: The answer of the storage to an upload.
_STORAGE = re.compile(r"Staging operation over HTTP was unsuccessful: (\d{3})")

_TOO_MANY_REQUESTS = 429
_NO_ACCESS = (401, 403)

_GRANT = (
    "Grant the connection's user USE CATALOG and USE SCHEMA, SELECT and MODIFY on the table (for create_table=True "
    "CREATE TABLE on the schema), and READ VOLUME and WRITE VOLUME on the volume of the staging."
)
_ADVICE = (
    (re.compile(r"PERMISSION_DENIED|INSUFFICIENT_PERMISSIONS|SQLSTATE: 42501"), _GRANT),
    (re.compile("COLLATION_MISMATCH"), "Give the column of the audience the collation UTF8_BINARY."),
    (_STORAGE, "Let Airflow's workers write to the storage of the volume; its answer says why they may not."),
)

#: What gives access to a file to everybody who reads it: the query of a signed URL.
_SIGNATURE = re.compile(r"\?[^\s'\"<>]*")

#: The loggers that write signed URLs; the connector filters only that of urllib3's pools.
_LOGGERS = ("databricks.sql.common.unified_http_client", "urllib3.util.retry")


#: Conflicts are frequent: Delta compares files, not rows.
_again = partial(again_after_conflicts, attempts=_ATTEMPTS, longest_pause=_LONGEST_PAUSE)


class DatabricksTable(TrendsTable):
    """The table in Databricks: a Delta table, on a SQL warehouse or a cluster with Unity Catalog.

    The file is put into a volume, and one ``INSERT INTO ... REPLACE WHERE`` reads it: one commit, which takes effect as
    a whole or not at all. The ``staging`` is ``/Volumes/catalog/schema/volume``, or a folder in it.

    Corrections are recorded by a statement of their own before that one: see ``_record``.

    :raises InvalidExportError: the staging is missing or invalid.
    :raises InvalidConnectionError: the connection names no SQL warehouse.
    """

    supports_corrections = True

    def __init__(
        self, conn_id: str, name: str, columns: Columns, *, create: bool = False, staging: Staging | None = None
    ) -> None:
        super().__init__(conn_id, name, columns, create=create, staging=staging)
        self.folder = _staging_folder(conn_id, self.staging)
        extra = BaseHook.get_connection(conn_id).extra_dejson
        self.endpoint = extra.get("sql_endpoint_name")
        if not (self.endpoint or extra.get("http_path")):
            msg = (
                f"Connection {conn_id!r} names no SQL warehouse to load into. Set http_path in its extra (from the "
                "warehouse's connection details), or sql_endpoint_name (the name of the warehouse)."
            )
            raise InvalidConnectionError(msg)

    def validate_name(self, name: str) -> None:
        super().validate_name(name)
        if name.count(".") >= _MOST_PARTS:
            msg = f"Invalid table name {name!r}: expected table, schema.table, or catalog.schema.table."
            raise InvalidExportError(msg)

    def load(self, batch: TrendsBatch) -> LoadResult:
        with tempfile.TemporaryDirectory(prefix="cordial-") as folder:
            path = Path(folder) / "trends.parquet"
            if batch.cells:
                write_parquet(path, batch)
            # Connecting starts the warehouse, which costs: the file is ready before.
            with self._errors(), self._connection(folder) as cursor:
                if self.create_if_missing:
                    cursor.execute(self._create())
                    if batch.corrections:
                        cursor.execute(self._create_corrections())
                names = self._names(cursor)
                if batch.corrections:
                    self._check_corrections(cursor)
                if not batch.cells:
                    return LoadResult.of_new(batch)
                with self._staged(cursor, path) as staged:
                    return self._replace(cursor, batch, _joined(self, batch, names, staged), names)

    def cells(self, audiences: Sequence[str], timeframe: Timeframe) -> Iterator[Cell]:
        audience, day, contacts = (_quote(self.columns[column]) for column in DATA_COLUMNS)
        with (
            tempfile.TemporaryDirectory(prefix="cordial-") as folder,
            self._errors(),
            self._connection(folder) as cursor,
        ):
            if self.create_if_missing:
                cursor.execute(self._create())
            for some in batches(audiences, AUDIENCES_PER_STATEMENT):
                names = ", ".join(map(_literal, some))
                cursor.execute(
                    f"SELECT {audience}, {day}, {contacts} FROM {self.quoted} "
                    f"WHERE {_cells(self.columns, [*timeframe])} AND {audience} IN ({names})"
                )
                for name, moment, number in cursor.fetchall():
                    yield str(name), moment, None if number is None else int(number)

    @contextmanager
    def _connection(self, folder: str) -> Iterator[Any]:
        """Yield a cursor of a new session, which may send files of a folder.

        :raises TableError: the hook cannot connect.
        """
        settings = BaseHook.get_connection(self.conn_id).extra_dejson.get("session_configuration") or {}
        # The connection's own hook is another one, for jobs.
        hook: Any = DatabricksSqlHook(
            self.conn_id,
            sql_endpoint_name=self.endpoint,
            # A column without a time zone gets the load time in that of the session.
            session_configuration={**settings, "TIMEZONE": "UTC"},
            caller="AudienceTrendsToSqlOperator",
            staging_allowed_local_path=folder,
        )
        try:
            connection = hook.get_conn()
        except Exception as error:
            if _is_of_driver(error):
                raise
            # The hook has logged in, or searched for the warehouse by its name.
            advice = f"Check the host, the login, and the SQL warehouse in connection {self.conn_id!r}."
            raise table_error(self.name, self.conn_id, error, is_transient=False, advice=advice) from error
        with closing_quietly(connection), closing_quietly(connection.cursor()) as cursor:
            yield cursor

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not _is_of_driver(error):
                raise
            status = _http_status(error)
            advice = next((text for pattern, text in _ADVICE if pattern.search(str(error))), None)
            if advice is None and status in _NO_ACCESS:
                advice = f"Check the login in connection {self.conn_id!r}, and that its user can use the SQL warehouse."
            options = {"advice": advice} if advice else {}
            is_transient = _is_transient(error, status)
            raise table_error(self.name, self.conn_id, error, is_transient=is_transient, **options) from error

    def _create(self) -> str:
        columns = ", ".join(f"{_quote(name)} {kind}" for name, kind in self._column_types().items())
        return f"CREATE TABLE IF NOT EXISTS {self.quoted} ({columns})"

    def _create_corrections(self) -> str:
        types = self._column_types()
        columns = ", ".join(f"{_quote(name)} {types[like]}" for name, like in corrections_columns(self.columns).items())
        return f"CREATE TABLE IF NOT EXISTS {self.corrections} ({columns})"

    def _column_types(self) -> dict[str, str]:
        names = {self.columns[column]: _TYPES[column] for column in TABLE_COLUMNS}
        names |= dict.fromkeys(self.columns.shared, "STRING")
        nullable = self.columns["contacts"]
        return {name: f"{kind}{'' if name == nullable else ' NOT NULL'}" for name, kind in names.items()}

    def _check_corrections(self, cursor: Any) -> None:
        """Check that the corrections table is there.

        :raises TableError: it is missing, or lacks a column.
        """
        names = ", ".join(map(_quote, corrections_columns(self.columns)))
        try:
            cursor.execute(f"SELECT {names} FROM {self.corrections} LIMIT 0")
        except Exception as error:
            if not is_driver_error(error) or _is_transient(error, _http_status(error)):
                raise
            raise corrections_error(self.name, self.conn_id, error, self._create_corrections()) from error

    def _names(self, cursor: Any) -> list[str]:
        """Return the columns of the table in its order: the statement inserts by position.

        :raises UnsuitableTableError: a column of the load is missing.
        """
        cursor.execute(f"SELECT * FROM {self.quoted} LIMIT 0")
        names = [str(column[0]) for column in cursor.description]
        known = {name.lower() for name in names}
        if missing := [name for name in self.columns.of_table if name.lower() not in known]:
            msg = (
                f"Table {self.name!r} has no column {missing[0]!r}; it has {', '.join(names)}. Add the column, or name "
                "another one in the Columns of the load."
            )
            raise UnsuitableTableError(msg, table=self.name)
        return names

    @contextmanager
    def _staged(self, cursor: Any, path: Path) -> Iterator[str]:
        """Yield the file's path in the volume, where it is until the end of the block."""
        with _signatures_struck_out():
            self._remove_leftovers(cursor)
            staged = f"{self.folder}/{uuid.uuid4().hex}.parquet"
            try:
                _transfer(cursor, f"PUT {_literal(str(path))} INTO {_literal(staged)} OVERWRITE")
                yield staged
            finally:
                self._remove(cursor, staged)

    def _remove_leftovers(self, cursor: Any) -> None:
        """Remove the file of a try of this task instance that was killed."""
        try:
            cursor.execute(f"LIST {_literal(self.folder)}")
            # path, name, size, modification_time
            names = [str(row[1]) for row in cursor.fetchall()]
        except Exception as error:
            if not _is_of_driver(error):
                raise
            # There is no folder before the first try. Without the permission to read, the load fails later.
            log.debug("Cannot list %s: %s", self.folder, error)
            return
        for name in names:
            if name.endswith(".parquet"):
                self._remove(cursor, f"{self.folder}/{name}")

    def _remove(self, cursor: Any, staged: str) -> None:
        try:
            _transfer(cursor, f"REMOVE {_literal(staged)}")
        except Exception as error:
            if not _is_of_driver(error):
                raise
            # It must not hide the error that ended the load, nor turn a commit into one.
            log.warning("Cannot remove %s (%s); the next try does", staged, type(error).__name__)

    def _replace(self, cursor: Any, batch: TrendsBatch, joined: str, names: Sequence[str]) -> LoadResult:
        """Compare the file with the table, and replace the rows unless all are the same.

        :raises TableError: the warehouse does not read all rows of the file.
        """
        insert = _insert(self, batch, joined, names)

        def run() -> LoadResult:
            result, found = self._compare(cursor, batch, joined)
            result = bounded(self.name, result, found, batch, lambda: self._find_largest(cursor, joined))
            if count_corrected(found, batch):
                self._record_and_replace(cursor, batch, joined, insert)
            elif found["untouched"] < batch.cells or found["doubled"]:
                cursor.execute(insert)
            return result

        return _again(run, _is_conflict, f"Another load of {self.name} was first; replacing again")

    def _record_and_replace(self, cursor: Any, batch: TrendsBatch, joined: str, insert: str) -> None:
        """Record the corrections, then replace the rows; nothing is recorded if the warehouse refuses to replace.

        Two commits: Delta has no transaction over two tables. A load that is killed between them leaves corrections
        that are not in the table yet; its retry replaces the rows, and does not record them again. Another load of the
        same cells that commits between them is not seen: the old number is then the one before both.
        """
        cursor.execute(_record(self, batch, joined))
        try:
            cursor.execute(insert)
        except Exception as error:
            # Without an answer the rows may have been replaced.
            if _is_answer(error):
                self._withdraw(cursor, batch)
            raise

    def _withdraw(self, cursor: Any, batch: TrendsBatch) -> None:
        """Delete the corrections of this load."""
        job_id, corrected_at = _quote(self.columns["job_id"]), _quote("corrected_at")
        statement = (
            f"DELETE FROM {self.corrections} WHERE {_cells(self.columns, batch.days)} "
            f"AND {job_id} = {_literal(batch.job_id)} AND {corrected_at} = {_literal(batch.loaded_at)}"
        )
        try:
            _again(lambda: cursor.execute(statement), _is_conflict, "Withdrawing the corrections again")
        except Exception as error:
            if not _is_of_driver(error):
                raise
            # It must not hide the error that ended the load.
            log.warning("Cannot withdraw the corrections of job %s (%s)", batch.job_id, type(error).__name__)

    def _find_largest(self, cursor: Any, joined: str) -> list[KnownCell]:
        new, old = "contacts", f"kept.{_quote(self.columns['contacts'])}"
        cursor.execute(
            f"SELECT audience, snapshot_date, {old} AS old, {new} AS new FROM ({joined}) WHERE {new} <> {old} "
            f"ORDER BY {difference(new, old)} DESC, audience, snapshot_date LIMIT {SHOWN}"
        )
        return [KnownCell(str(row[0]), row[1], int(row[2]), int(row[3])) for row in cursor.fetchall()]

    def _compare(self, cursor: Any, batch: TrendsBatch, joined: str) -> tuple[LoadResult, dict[str, int]]:
        """Count in one query what the file changes, and what decides how it is written."""
        old = f"kept.{_quote(self.columns['contacts'])}"
        conditions = {
            "new": f"contacts IS NOT NULL AND {old} IS NULL",
            "same": f"contacts = {old}",
            "corrected": f"contacts <> {old}",
            "blank": f"contacts IS NULL AND {old} IS NULL",
            "lost": f"contacts IS NULL AND {old} IS NOT NULL",
            "untouched": "untouched",
            "doubled": "copies > 1",
        }
        columns = {name: f"COUNT(CASE WHEN {condition} THEN 1 END)" for name, condition in conditions.items()}
        columns |= {"rows": "COUNT(*)", **change_sums("contacts", old, batch)}
        cursor.execute(f"SELECT {', '.join(columns.values())} FROM ({joined})")
        found = dict(zip(columns, map(int, cursor.fetchall()[0]), strict=True))
        if found["rows"] != batch.cells:
            msg = (
                f"Table {self.name!r} would have {found['rows']} of {batch.cells} rows of the file: the warehouse does "
                "not read the others. The rows of the table are as before. Retry the task."
            )
            raise TableError(msg, table=self.name)
        return LoadResult.of_counts(found, batch.on_blank), found

    @property
    def quoted(self) -> str:
        return ".".join(map(_quote, self.name.split(".")))

    @property
    def corrections(self) -> str:
        return ".".join(map(_quote, corrections_table(self.name).split(".")))


def _staging_folder(conn_id: str, staging: Staging) -> str:
    """Return the folder of the task instance in the volume.

    :raises InvalidExportError: the location is missing or invalid.
    """
    example = "staging='/Volumes/catalog/schema/volume'"
    if staging.location is None:
        msg = (
            f"Loading into Databricks (connection {conn_id!r}) needs staging: a volume for the file. Set {example}, or "
            "a folder in a volume."
        )
        raise InvalidExportError(msg)
    if staging.conn_id is not None:
        msg = (
            f"Invalid staging_conn_id {staging.conn_id!r}: connection {conn_id!r} itself writes into the volume. "
            "Omit it."
        )
        raise InvalidExportError(msg)
    location = staging.location.rstrip("/")
    folder = f"{location}/{staging.owner}"
    for path in (location, folder):
        if not _FOLDER.fullmatch(path):
            msg = f"Invalid staging {path!r}: expected a volume or a folder in one. Set {example}, for instance."
            raise InvalidExportError(msg)
    return folder


def _joined(table: DatabricksTable, batch: TrendsBatch, names: Sequence[str], staged: str) -> str:
    """Return the query of the file's rows beside those of the table.

    Of each cell the table has one row, ``kept``, or None. Of a cell that it has more often that is the last one with a
    number. ``untouched`` are the rows that stay as they are.
    """
    columns = table.columns
    audience, day, contacts = (_quote(columns[column]) for column in DATA_COLUMNS)
    row = ", ".join(map(_quote, names))
    rank = f"struct({contacts} IS NOT NULL, {_quote(columns['loaded_at'])})"
    old = (
        f"SELECT {audience} AS audience, {day} AS day, max_by(struct({row}), {rank}) AS kept, COUNT(*) AS copies "
        f"FROM {table.quoted} WHERE {_cells(columns, batch.days)} GROUP BY {audience}, {day}"
    )
    texts = {columns["job_id"]: batch.job_id, **columns.constants}
    equal = "".join(f" AND old.kept.{_quote(name)} = {_literal(text)}" for name, text in texts.items())
    same = f"old.copies IS NOT NULL AND new.contacts <=> old.kept.{contacts}{equal}"
    lost = f" OR (new.contacts IS NULL AND old.kept.{contacts} IS NOT NULL)" if batch.on_blank == "keep" else ""
    return (
        f"SELECT new.audience, new.snapshot_date, new.contacts, old.kept, old.copies, "
        f"COALESCE(({same}){lost}, FALSE) AS untouched FROM parquet.{_quote(staged)} AS new "
        f"LEFT JOIN ({old}) AS old ON old.audience = new.audience AND old.day = new.snapshot_date"
    )


def _insert(table: DatabricksTable, batch: TrendsBatch, joined: str, names: Sequence[str]) -> str:
    """Return the statement that replaces the rows.

    What the predicate selects is deleted, and Databricks refuses rows that it does not select. Its values are literals:
    a statement has at most 255 parameters.
    """
    columns = table.columns
    values = {columns["job_id"]: _literal(batch.job_id), columns["loaded_at"]: _literal(batch.loaded_at)}
    values |= {name: _literal(text) for name, text in columns.constants.items()}
    written = {columns[column]: column for column in ("audience", "snapshot_date")}
    written |= {name: _literal(text) for name, text in columns.scope.items()}
    written |= {
        # A column that is not of the load is NULL in a row that is new.
        name: f"CASE WHEN untouched THEN kept.{_quote(name)} ELSE {value} END"
        for name, value in {columns["contacts"]: "contacts", **values}.items()
    }
    by_name = {name.lower(): value for name, value in written.items()}
    selected = ", ".join(
        by_name.get(name.lower(), f"CASE WHEN untouched THEN kept.{_quote(name)} END") for name in names
    )
    audiences = ", ".join(map(_literal, batch.audiences))
    predicate = f"{_cells(columns, batch.days)} AND {_quote(columns['audience'])} IN ({audiences})"
    return f"INSERT INTO {table.quoted} REPLACE WHERE {predicate} SELECT {selected} FROM ({joined})"


def _record(table: DatabricksTable, batch: TrendsBatch, joined: str) -> str:
    """Return the statement that inserts a row for each cell that the load corrects, and was not recorded before.

    A correction that is recorded, and later than the row of the table, is that of a load of this job that was killed
    before it replaced the row.
    """
    columns = table.columns
    names = [_quote(name) for name in corrections_columns(columns)]
    new, old = "contacts", f"kept.{_quote(columns['contacts'])}"
    scope = {_quote(name): _literal(text) for name, text in columns.scope.items()}
    shared = [_literal(batch.job_id), _literal(batch.loaded_at), *scope.values()]
    audience, day, old_name, new_name, job_id, corrected_at = names[:6]
    equal = "".join(f" AND {name} = {text}" for name, text in scope.items())
    return (
        f"INSERT INTO {table.corrections} ({', '.join(names)}) "
        f"SELECT audience, snapshot_date, old, contacts, {', '.join(shared)} FROM ("
        f"SELECT audience, snapshot_date, {old} AS old, contacts, kept.{_quote(columns['loaded_at'])} AS loaded_at "
        f"FROM ({joined}) WHERE {is_corrected(new, old, batch.on_blank)}) AS found "
        f"WHERE NOT EXISTS (SELECT 1 FROM {table.corrections} AS recorded WHERE recorded.{audience} = found.audience "
        f"AND recorded.{day} = found.snapshot_date AND recorded.{old_name} = found.old "
        f"AND recorded.{new_name} <=> found.contacts AND recorded.{corrected_at} > found.loaded_at "
        f"AND recorded.{job_id} = {_literal(batch.job_id)}{equal})"
    )


def _cells(columns: Columns, days: Sequence[date]) -> str:
    """Return the condition for the rows of the scope on the days, which may have gaps."""
    day = _quote(columns["snapshot_date"])
    ranges = " OR ".join(f"{day} BETWEEN {_literal(first)} AND {_literal(last)}" for first, last in day_ranges(days))
    scope = "".join(f"{_quote(name)} = {_literal(text)} AND " for name, text in columns.scope.items())
    return f"{scope}({ranges})"


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _literal(value: str | date) -> str:
    if isinstance(value, datetime):
        return f"TIMESTAMP'{value.astimezone(UTC).replace(tzinfo=None).isoformat(' ')}+00:00'"
    if isinstance(value, date):
        return f"DATE'{value.isoformat()}'"
    # Spark puts settings and variables of the system in place of ${...}, even in literals.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("${", "$\\{")
    return f"'{escaped}'"


def _is_of_driver(error: BaseException) -> bool:
    return is_driver_error(error) or _is_lost_connection(error)


def _is_conflict(error: BaseException) -> bool:
    return is_driver_error(error) and bool(_CONFLICT.search(str(error)))


def _is_answer(error: BaseException) -> bool:
    """Return whether the warehouse itself reports that a statement failed."""
    return is_driver_error(error) and not _is_lost_connection(error) and type(error).__name__ not in _LOST


def _is_lost_connection(error: BaseException) -> bool:
    """Return whether an error is one of the HTTP clients: the connector and the hook do not wrap all of them."""
    return isinstance(error, HTTPError | OSError)


def _http_status(error: BaseException) -> int | None:
    """Return the HTTP status that an error is about, if any."""
    if match := _STORAGE.search(str(error)):
        return int(match[1])
    code = (getattr(error, "context", None) or {}).get("http-code")
    return int(code) if code else None


def _is_transient(error: BaseException, status: int | None) -> bool:
    text = str(error)
    if _CONFLICT.search(text) or _TRANSIENT.search(text):
        return True
    if status is not None and 400 <= status < 500:
        return status == _TOO_MANY_REQUESTS
    return _is_lost_connection(error) or type(error).__name__ in _LOST


def _transfer(cursor: Any, statement: str) -> None:
    """Run a statement for which the connector sends a request to a signed URL."""
    try:
        cursor.execute(statement)
    except Exception as error:
        text = _SIGNATURE.sub("?***", str(error))
        if not is_driver_error(error) or text == str(error):
            raise
        # The error itself would be logged with the signature.
        struck_out: Any = type(error)
        raise struck_out(text, getattr(error, "context", None)) from None


@contextmanager
def _signatures_struck_out() -> Iterator[None]:
    """Keep signatures out of the connector's log."""

    def strike_out(record: logging.LogRecord) -> bool:
        record.msg, record.args = _SIGNATURE.sub("?***", record.getMessage()), None
        return True

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(strike_out)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(strike_out)
