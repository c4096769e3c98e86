"""SqliteTable: an audience's sizes are sent as one JSON array, which the database unfolds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

from airflow_provider_cordial.trends.batch import TrendsBatch
from airflow_provider_cordial.trends.tables.staged import STAGED_COLUMNS, StagedTable

#: Milliseconds to wait for another load of the same database.
_WAIT = 600_000


class SqliteTable(StagedTable):
    """The table in SQLite."""

    #: The rows are stored by their primary key, not a second time by number.
    options = " WITHOUT ROWID"
    begins_transactions = True
    # For writing from the start: a transaction that only later starts to write may be rejected then.
    begin = "BEGIN IMMEDIATE"
    conflicts = ()
    transient = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN")
    staged = "temp.cordial_staged"
    changed = "temp.cordial_changed"
    create_temporary = "CREATE TABLE"

    def prepare(self, connection: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout = {_WAIT}")

    def unique_keys(self, cursor: Any) -> Iterable[list[str]]:
        schema, _, table = self.name.rpartition(".")
        arguments = [table, schema or "main"]
        cursor.execute("SELECT name FROM pragma_table_info(?, ?) WHERE pk ORDER BY pk", arguments)
        keys = [[name for (name,) in cursor.fetchall()]]
        cursor.execute('SELECT name FROM pragma_index_list(?, ?) WHERE "unique"', arguments)
        for (index,) in cursor.fetchall():
            cursor.execute("SELECT name FROM pragma_index_info(?, ?)", [index, arguments[1]])
            keys.append([name for (name,) in cursor.fetchall()])
        # The columns of an expression are not listed.
        return [names for names in keys if names and None not in names]

    def fill(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:
        cursor.execute("DROP TABLE IF EXISTS temp.cordial_days")
        cursor.execute("CREATE TEMP TABLE cordial_days (place INTEGER PRIMARY KEY, day TEXT NOT NULL)")
        cursor.executemany("INSERT INTO temp.cordial_days VALUES (?, ?)", enumerate(map(self.parameter, batch.days)))
        shared = self.shared_values(batch) if whole else []
        marks = "".join([", ?"] * len(shared))
        unfolded = "json_each(?) AS size JOIN temp.cordial_days ON place = size.key"
        into = self.insert_into(target, None if whole else STAGED_COLUMNS)
        statement = f"{into} SELECT ?, day, size.value{marks} FROM {unfolded}"
        count = 0
        for row in batch.rows:
            cursor.execute(statement, [row.audience, *shared, json.dumps(row.contacts)])
            count += cursor.rowcount
        return count

    def parameter(self, value: date) -> str:
        # SQLite has no date type, and the driver's own way to store dates is deprecated.
        return value.isoformat()
