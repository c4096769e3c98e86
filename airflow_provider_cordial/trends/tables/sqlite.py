"""SqliteTable: an audience's sizes are sent as one JSON array, which the database unfolds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from airflow_provider_cordial.trends.batch import TrendsBatch
from airflow_provider_cordial.trends.tables.generic import DbApiTable


class SqliteTable(DbApiTable):
    """The table in SQLite."""

    #: The rows are stored by their primary key, not a second time by number.
    options = " WITHOUT ROWID"

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        # For writing from the start: a transaction that only later starts to write may be rejected then.
        connection.execute("BEGIN IMMEDIATE")
        with super().transaction(connection) as cursor:
            yield cursor

    def insert(self, cursor: Any, batch: TrendsBatch) -> int:
        cursor.execute("DROP TABLE IF EXISTS temp.cordial_days")
        cursor.execute("CREATE TEMP TABLE cordial_days (place INTEGER PRIMARY KEY, day TEXT NOT NULL)")
        cursor.executemany("INSERT INTO temp.cordial_days VALUES (?, ?)", enumerate(map(self.parameter, batch.days)))
        constants = [batch.job_id, self.parameter(batch.loaded_at), *self.columns.constants.values()]
        marks = ", ".join(["?"] * len(constants))
        unfolded = "json_each(?) AS size JOIN temp.cordial_days ON place = size.key"
        statement = f"{self.insert_into} SELECT ?, day, size.value, {marks} FROM {unfolded}"  # noqa: S608
        count = 0
        for row in batch.rows:
            cursor.execute(statement, [row.audience, *constants, json.dumps(row.contacts)])
            count += len(row.contacts)
        return count

    def parameter(self, value: date) -> str:
        # SQLite has no date type, and the driver's own way to store dates is deprecated.
        return value.isoformat()
