"""DuckDB: an audience's sizes go in as one list, which the database itself unfolds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from airflow_provider_cordial.trends_csv import AudienceRow
from airflow_provider_cordial.warehouse.table import TrendsTable


@dataclass(frozen=True, kw_only=True, slots=True)
class DuckDbTable(TrendsTable):
    """The table in DuckDB."""

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        # A cursor is a connection of its own here, and each statement is committed unless told otherwise.
        with closing(connection.cursor()) as cursor:
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise

    def insert(
        self, cursor: Any, days: Sequence[date], rows: Iterable[AudienceRow], *, job_id: str, loaded_at: datetime
    ) -> int:
        constants = [job_id, loaded_at.replace(tzinfo=None), *self.columns.constants.values()]
        marks = ", ".join(["?"] * len(constants))
        statement = f"{self.insert_into} SELECT ?, unnest(?::DATE[]), unnest(?::BIGINT[]), {marks}"
        days = list(days)
        count = 0
        for row in rows:
            cursor.execute(statement, [row.audience, days, row.contacts, *constants])
            count += len(row.contacts)
        return count
