"""Speed and memory of loading into the double of Databricks: ours beside the hook's ``insert_rows``.

``databricks.py [AUDIENCES] [DAYS]``. The double runs statements on Sail: its speed is not that of Databricks; what
counts are the ratio and the memory of the client. Each way runs in a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # In place of this folder, in which modules have the names of clients.
    sys.path[:1] = [str(PROJECT), str(PROJECT / "benchmarks")]

from tests.integration.servers.databricks import VOLUME, databricks_server
from warehouses.harness import (
    AGAIN,
    COLUMNS,
    FIRST_DAY,
    INSERT_ROWS,
    OURS,
    TABLE,
    Rows,
    Served,
    main,
    measure,
)

#: A statement, and a commit, per row: few are enough to measure it.
INSERTED = 100


@contextmanager
def serve(_folder: Path) -> Iterator[Served]:
    """Serve the double."""
    with databricks_server() as server:
        # The hook's own placeholder is not that of the connector.
        yield "Databricks (Sail)", server.airflow_connection(placeholder="?"), {}, (OURS, AGAIN, INSERT_ROWS)


def one_way(way: str, audiences: int, days: int) -> None:
    """Load in this process."""
    from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

    from airflow_provider_cordial.trends import Columns
    from airflow_provider_cordial.trends.tables import Staging, build_table

    table: Any = build_table("warehouse", TABLE, Columns(), create=True, staging=Staging(location=VOLUME))
    hook: Any = DatabricksSqlHook("warehouse")
    # What a load imports, and a first session.
    for name in ("databricks.sql.client", "pyarrow.parquet"):
        import_module(name)
    hook.get_first("SELECT 1")

    def run() -> int:
        if way != INSERT_ROWS:
            return int(table.load(Rows(audiences, days).batch()).rows)
        moment = datetime(2026, 11, 25, tzinfo=UTC)
        rows = [("audience", FIRST_DAY + timedelta(days=n), n, "j1", moment) for n in range(INSERTED)]
        hook.insert_rows(TABLE, rows, target_fields=COLUMNS)
        return INSERTED

    measure(run)


if __name__ == "__main__":
    main(__file__, serve, one_way)
