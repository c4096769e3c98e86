"""DuckDbTable: the checked rows are written to a temporary file, which the database reads and unfolds."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.trends.batch import TrendsBatch
from airflow_provider_cordial.trends.tables.staged import STAGED_COLUMNS, StagedTable


class DuckDbTable(StagedTable):
    """The table in DuckDB, within the ``memory_limit`` of the connection's extra, ``256MB`` for instance.

    By default DuckDB keeps in memory what fits.
    """

    # A cursor is a connection of its own here, which commits each statement by default.
    begins_transactions = True
    conflicts = ("TransactionException",)
    transient = ("TransactionException", "IOException")
    staged = "temp.cordial_staged"
    changed = "temp.cordial_changed"

    def prepare(self, connection: Any) -> None:
        if limit := BaseHook.get_connection(self.conn_id).extra_dejson.get("memory_limit"):
            connection.execute("SET memory_limit = ?", [str(limit)])

    def unique_keys(self, cursor: Any) -> Iterable[list[str]]:
        schema, _, table = self.name.rpartition(".")
        of_table = (
            "database_name = current_database() AND lower(table_name) = lower(?) "
            "AND lower(schema_name) = lower(coalesce(?, current_schema()))"
        )
        parameters = [table, schema or None]
        cursor.execute(
            "SELECT constraint_column_names FROM duckdb_constraints() "
            f"WHERE constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND {of_table}",
            parameters,
        )
        keys = [list(names) for (names,) in cursor.fetchall()]
        cursor.execute(f"SELECT expressions FROM duckdb_indexes() WHERE is_unique AND {of_table}", parameters)
        columns = {name.lower() for name in self.columns.of_table}
        for (expressions,) in cursor.fetchall():
            names = [part.strip().strip("\"'") for part in str(expressions).strip("[]").split(",")]
            # The columns of an expression are not listed.
            if columns.intersection(name.lower() for name in names):
                keys.append(names)
        return keys

    def fill(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:
        names = [day.isoformat() for day in batch.days]
        with tempfile.TemporaryDirectory(prefix="cordial-") as folder:
            path = Path(folder) / "trends.csv"
            with path.open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["audience", *names])
                writer.writerows([row.audience, *row.contacts] for row in batch.rows)
            types = ", ".join(["'audience': 'VARCHAR'", *(f"'{name}': 'BIGINT'" for name in names)])
            shared = self.shared_values(batch) if whole else []
            marks = "".join([", ?"] * len(shared))
            cursor.execute(
                f"{self.insert_into(target, None if whole else STAGED_COLUMNS)} "
                f"SELECT audience, day::DATE, contacts{marks} "
                f"FROM read_csv(?, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
                f"nullstr = '', columns = {{{types}}}) "
                "UNPIVOT INCLUDE NULLS (contacts FOR day IN (COLUMNS(* EXCLUDE audience)))",
                [*shared, str(path)],
            )
        return self.affected(cursor)

    def bytes_of(self, column: str) -> str:
        return f"encode({column})"

    def affected(self, cursor: Any) -> int:
        return int(cursor.fetchone()[0])

    def parameter(self, value: date) -> date:
        # A timestamp with a zone would be converted to the zone of the session.
        return value.replace(tzinfo=None) if isinstance(value, datetime) else value
