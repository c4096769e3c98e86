"""Speed and memory of loading into Snowflake's double: ours beside the hook's ``insert_rows``.

``snowflake.py [AUDIENCES] [DAYS]``. The double is fakesnow: its speed is not that of Snowflake; what counts are the
ratio and the memory of the client. Each way runs in a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # In place of this folder, in which modules have the names of clients.
    sys.path[:1] = [str(PROJECT), str(PROJECT / "benchmarks")]

from tests.integration.servers.snowflake import snowflake_server
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

#: A statement per row: few are enough to measure it.
INSERTED = 200


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """Serve the double."""
    with snowflake_server(folder) as server:
        ways = (OURS, AGAIN, INSERT_ROWS)
        yield "Snowflake (fakesnow)", server.airflow_connection(), server.environment(), ways


def one_way(way: str, audiences: int, days: int) -> None:
    """Load in this process."""
    from airflow.sdk import BaseHook

    from airflow_provider_cordial.trends import Columns
    from airflow_provider_cordial.trends.tables import build_table

    table: Any = build_table("warehouse", TABLE, Columns(), create=True)
    hook: Any = BaseHook.get_hook("warehouse")
    # What a load imports, and a first session.
    import pyarrow.parquet  # noqa: F401

    hook.get_first("SELECT 1")

    def run() -> int:
        if way != INSERT_ROWS:
            return int(table.load(Rows(audiences, days).batch()).rows)
        # snowflake-sqlalchemy, which is asked for this name, cannot be imported beside every SQLAlchemy.
        hook.dialect_name = "snowflake"
        moment = datetime(2026, 11, 25)  # noqa: DTZ001
        rows = [("audience", FIRST_DAY + timedelta(days=n), n, "j1", moment) for n in range(INSERTED)]
        hook.insert_rows(TABLE, rows, target_fields=COLUMNS)
        return INSERTED

    measure(run)


if __name__ == "__main__":
    main(__file__, serve, one_way)
