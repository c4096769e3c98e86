"""DuckDbTable: the checked rows are written to a temporary file, which the database reads and unfolds."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_provider_cordial.trends.batch import TrendsBatch
from airflow_provider_cordial.trends.tables.generic import DbApiTable


class DuckDbTable(DbApiTable):
    """The table in DuckDB."""

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        # A cursor is a connection of its own here, which commits each statement by default.
        with closing(connection.cursor()) as cursor:
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(Exception):
                    cursor.execute("ROLLBACK")
                raise

    def insert(self, cursor: Any, batch: TrendsBatch) -> int:
        constants = [batch.job_id, batch.loaded_at.replace(tzinfo=None), *self.columns.constants.values()]
        names = [day.isoformat() for day in batch.days]
        with tempfile.TemporaryDirectory(prefix="cordial-") as folder:
            path = Path(folder) / "trends.csv"
            count = 0
            with path.open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["audience", *names])
                for row in batch.rows:
                    writer.writerow([row.audience, *row.contacts])
                    count += len(row.contacts)
            types = ", ".join(["'audience': 'VARCHAR'", *(f"'{name}': 'BIGINT'" for name in names)])
            marks = ", ".join(["?"] * len(constants))
            cursor.execute(
                f"{self.insert_into} SELECT audience, day::DATE, contacts, {marks} "  # noqa: S608
                f"FROM read_csv(?, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
                f"nullstr = '', columns = {{{types}}}) "
                "UNPIVOT INCLUDE NULLS (contacts FOR day IN (COLUMNS(* EXCLUDE audience)))",
                [*constants, str(path)],
            )
        return count
