"""MySqlTable: LOAD DATA LOCAL where it is allowed, and names compared byte by byte; MySQL and MariaDB."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterable
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

from airflow_provider_cordial.exceptions import TableError, TransientTableError, UnsuitableTableError
from airflow_provider_cordial.trends.batch import TrendsBatch
from airflow_provider_cordial.trends.corrections import corrections_table
from airflow_provider_cordial.trends.tables.errors import error_code, is_driver_error
from airflow_provider_cordial.trends.tables.generic import BATCH, batches
from airflow_provider_cordial.trends.tables.rows import write_csv
from airflow_provider_cordial.trends.tables.staged import STAGED_COLUMNS, StagedTable

log = logging.getLogger(__name__)

#: The server or the client does not permit LOAD DATA LOCAL.
_NO_LOCAL_FILES = frozenset({"1148", "2068", "3948", "4166"})

#: No privilege for temporary tables.
_NO_TEMPORARY_TABLES = frozenset({"1044", "1142", "3750"})

#: Seconds to wait for other loads of the table before a message, and how many messages.
_LOCK_TIMEOUT = 60
_LOCK_ATTEMPTS = 60

#: InnoDB's longest key, and the longest audience: characters of up to four bytes.
_KEY_BYTES = 3072
_AUDIENCE = 500
_TEXT = 255


class MySqlTable(StagedTable):
    """The table in MySQL or MariaDB."""

    # The argument: the hook does not read the extra of its connection.
    hook_params = {"local_infile": True}  # noqa: RUF012
    types = {  # noqa: RUF012
        "audience": f"VARCHAR({_AUDIENCE}) CHARACTER SET utf8mb4 COLLATE {{collation}}",
        "snapshot_date": "DATE",
        "contacts": "BIGINT",
        "job_id": f"VARCHAR({_TEXT})",
        # A TIMESTAMP ends in 2038.
        "loaded_at": "DATETIME(6)",
        "scope": "VARCHAR({scope}) CHARACTER SET utf8mb4 COLLATE {collation}",
        "constant": f"VARCHAR({_TEXT})",
    }
    options = corrections_options = " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4"
    #: A deadlock, and a lock that was not granted in time.
    conflicts = ("1213", "1205")
    transient = (*conflicts, "1040", "1053", "2002", "2003", "2006", "2013", "2055")
    create_temporary = "CREATE TEMPORARY TABLE"
    # Without TEMPORARY it would commit.
    drop_temporary = "DROP TEMPORARY TABLE IF EXISTS"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._schema, _, self._table = self.name.rpartition(".")

    def prepare(self, connection: Any) -> None:
        if hasattr(connection, "set_character_set"):  # mysqlclient
            connection.set_character_set("utf8mb4")
        with closing(connection.cursor()) as cursor:
            # Otherwise a value that does not fit is cut, with only a warning.
            cursor.execute(
                "SET SESSION sql_mode = IF(@@sql_mode = '', 'STRICT_ALL_TABLES', "
                "CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')), time_zone = '+00:00'"
            )
            if self._schema:
                # For the temporary tables, and for what an alias refers to.
                cursor.execute(f"USE {self.quote(self._schema)}")
        super().prepare(connection)

    def column_types(self, cursor: Any) -> dict[str, str]:
        cursor.execute("SELECT VERSION()")
        is_mariadb = "mariadb" in str(cursor.fetchall()[0][0]).lower()
        # Binary, and without padding: no two names are equal.
        collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        rest = (_KEY_BYTES - 4 * _AUDIENCE) // 4 - 1
        scope = min(_TEXT, rest // max(1, len(self.columns.scope)))
        return {
            name: kind.format(collation=collation, scope=scope) for name, kind in super().column_types(cursor).items()
        }

    def lock(self, cursor: Any) -> None:
        # Two loads of an empty range would end in a deadlock. The lock ends with the connection.
        cursor.execute("SELECT LOWER(DATABASE())")
        whole = f"{cursor.fetchall()[0][0]}.{self._table.lower()}"
        name = f"cordial:{hashlib.sha256(whole.encode()).hexdigest()[:32]}"
        for _ in range(_LOCK_ATTEMPTS):
            cursor.execute("SELECT GET_LOCK(%s, %s)", [name, _LOCK_TIMEOUT])
            if cursor.fetchall()[0][0] == 1:
                return
            log.info("Waiting for another load of %s", self.name)
        msg = f"Another task has been loading table {self.name!r} for an hour. Retry the task."
        raise TransientTableError(msg, table=self.name)

    def check(self, cursor: Any) -> None:
        self._check_engine(cursor, self.name)
        super().check(cursor)

    def check_corrections(self, cursor: Any) -> None:
        self._check_engine(cursor, corrections_table(self.name))
        super().check_corrections(cursor)

    def _check_engine(self, cursor: Any, table: str) -> None:
        cursor.execute(
            "SELECT tables.engine, engines.transactions FROM information_schema.tables AS tables "
            "LEFT JOIN information_schema.engines AS engines ON engines.engine = tables.engine "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            [table.rpartition(".")[2]],
        )
        for engine, transactions in cursor.fetchall():
            if transactions == "NO":
                msg = f"Table {table!r} has the engine {engine}, which has no transactions. Convert it to InnoDB."
                raise UnsuitableTableError(msg, table=table)

    def unique_keys(self, cursor: Any) -> Iterable[list[str]]:
        cursor.execute(
            "SELECT index_name, column_name FROM information_schema.statistics WHERE non_unique = 0 "
            "AND table_schema = DATABASE() AND table_name = %s ORDER BY index_name, seq_in_index",
            [self._table],
        )
        keys: dict[str, list[str | None]] = {}
        for index, column in cursor.fetchall():
            keys.setdefault(index, []).append(column)
        # The columns of an expression are not listed.
        return [[name for name in names if name] for names in keys.values() if None not in names]

    def stage(self, cursor: Any, batch: TrendsBatch) -> bool:
        # Without an index the server would compare each row with all others.
        if not self.has_key:
            return False
        try:
            return super().stage(cursor, batch)
        except Exception as error:
            if is_driver_error(error) and error_code(error) in _NO_TEMPORARY_TABLES:
                return False
            raise

    def fill(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:
        try:
            return self._load_file(cursor, target, batch, whole=whole)
        except Exception as error:
            if not is_driver_error(error) or error_code(error) not in _NO_LOCAL_FILES:
                raise
            log.info("LOAD DATA LOCAL is not permitted (%s); inserting rows", error_code(error))
        return self._insert(cursor, target, batch, whole=whole)

    def _load_file(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:
        audience, day, contacts, *shared = map(self.quote, self.columns.of_table)
        settings = "".join(f", {name} = %s" for name in shared) if whole else ""
        with tempfile.TemporaryDirectory(prefix="cordial-") as folder:
            path = Path(folder) / "trends.csv"
            write_csv(path, batch)
            cursor.execute(
                f"LOAD DATA LOCAL INFILE %s INTO TABLE {target} CHARACTER SET utf8mb4 "
                "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\\n' "
                f"({audience}, {day}, @contacts) SET {contacts} = NULLIF(@contacts, ''){settings}",
                [str(path), *(self.shared_values(batch) if whole else [])],
            )
        count = int(cursor.rowcount)
        # LOCAL turns errors into warnings, and skips a row whose key is there.
        cursor.execute("SHOW WARNINGS")
        warnings = [str(text) for level, _, text in cursor.fetchall() if level != "Note"]
        if warnings or count != batch.cells:
            reason = warnings[0] if warnings else "rows were skipped"
            msg = (
                f"Table {self.name!r} cannot store all rows as they are: {reason} ({count} of {batch.cells} rows "
                "arrived). The rows of the table are as before. Give the column of the audience a binary collation, "
                "and check the types of the columns."
            )
            raise TableError(msg, table=self.name)
        return count

    def _insert(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:
        shared = tuple(self.shared_values(batch)) if whole else ()
        marks = ", ".join(["%s"] * (STAGED_COLUMNS + len(shared)))
        statement = f"{self.insert_into(target, None if whole else STAGED_COLUMNS)} VALUES ({marks})"
        rows = (
            (row.audience, day, contacts, *shared)
            for row in batch.rows
            for day, contacts in zip(batch.days, row.contacts, strict=True)
        )
        count = 0
        for some in batches(rows, BATCH):
            # The drivers send them as one statement.
            cursor.executemany(statement, some)
            count += cursor.rowcount
        return count

    def delete_changed(self, source: str) -> tuple[str, list[Any]]:
        # A subquery would be run once per row of the table.
        audience, day = map(self.quote, self.columns.key[:2])
        scope, texts = self.in_scope("old.")
        return (
            f"DELETE old FROM {self.quoted} AS old JOIN {source} AS new "
            f"ON old.{audience} = new.{audience} AND old.{day} = new.{day}{scope}"
        ), texts

    def bytes_of(self, column: str) -> str:
        return f"CAST({column} AS BINARY)"

    def parameter(self, value: date) -> date:
        return value.replace(tzinfo=None) if isinstance(value, datetime) else value
