"""SQLite: an audience's sizes go in as one JSON array, which the database itself unfolds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from airflow_provider_cordial.trends.csv import AudienceRow
from airflow_provider_cordial.trends.tables.base import TrendsTable


@dataclass(frozen=True, kw_only=True, slots=True)
class SqliteTable(TrendsTable):
    """The table in SQLite."""

    #: The rows are kept by their primary key, and not a second time by number.
    options = " WITHOUT ROWID"

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        # At once for writing: a transaction that only later wants to write may be refused then.
        connection.execute("BEGIN IMMEDIATE")
        with TrendsTable.transaction(self, connection) as cursor:
            yield cursor

    def insert(
        self, cursor: Any, days: Sequence[date], rows: Iterable[AudienceRow], *, job_id: str, loaded_at: datetime
    ) -> int:
        cursor.execute("DROP TABLE IF EXISTS temp.cordial_days")
        cursor.execute("CREATE TEMP TABLE cordial_days (place INTEGER PRIMARY KEY, day TEXT NOT NULL)")
        cursor.executemany("INSERT INTO temp.cordial_days VALUES (?, ?)", enumerate(map(self.parameter, days)))
        constants = [job_id, self.parameter(loaded_at), *self.columns.constants.values()]
        marks = ", ".join(["?"] * len(constants))
        unfolded = "json_each(?) AS size JOIN temp.cordial_days ON place = size.key"
        statement = f"{self.insert_into} SELECT ?, day, size.value, {marks} FROM {unfolded}"  # noqa: S608
        count = 0
        for row in rows:
            cursor.execute(statement, [row.audience, *constants, json.dumps(row.contacts)])
            count += len(row.contacts)
        return count

    def parameter(self, value: date) -> str:
        # SQLite has no type for a date, and the driver's own way to store one is deprecated.
        return value.isoformat()
