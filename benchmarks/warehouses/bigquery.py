"""Speed and memory of loading into an emulator of BigQuery: ours beside what the hook has to insert rows.

``bigquery.py [AUDIENCES] [DAYS]``, by default 3.66 million rows. The speed is that of the emulator; what counts is the
ratio, and the memory of the client above its imports, which must not grow with the file. Each way runs in a process of
its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # In place of this folder, in which modules have the names of clients.
    sys.path[:1] = [str(PROJECT), str(PROJECT / "benchmarks")]

from tests.integration.servers.bigquery import DATASET, bigquery_server
from tests.integration.servers.bigquery import PROJECT as CLOUD_PROJECT
from warehouses.harness import AGAIN, COLUMNS, FIRST_DAY, OURS, TABLE, Rows, Served, main, measure

CHANGED = "ours, all changed"
INSERT_ROWS, INSERT_ALL = "BigQueryHook.insert_rows", "BigQueryHook.insert_all"

#: The emulator compares each row of the table with each that a MERGE inserts.
MOST_CHANGED = 50_000

#: The limit of a request that streams rows.
STREAMED = 10_000


@contextmanager
def serve(_folder: Path) -> Iterator[Served]:
    """Serve the emulator."""
    with bigquery_server() as server:
        environment = {"BIGQUERY_EMULATOR_HOST": server.url}
        ways = (OURS, AGAIN, CHANGED, INSERT_ROWS, INSERT_ALL)
        yield "BigQuery (bqemulator)", server.airflow_connection(), environment, ways


def one_way(way: str, audiences: int, days: int) -> None:
    """Load in this process."""
    # What a load imports.
    import pyarrow.parquet  # noqa: F401

    from airflow_provider_cordial.trends import Columns
    from airflow_provider_cordial.trends.tables import build_table

    if way == CHANGED and audiences * days > MOST_CHANGED:
        print(json.dumps(f"not run: the emulator's MERGE is quadratic; give fewer than {MOST_CHANGED:,} rows"))
        return
    table: Any = build_table("warehouse", f"{DATASET}.{TABLE}", Columns(), create=True)
    # Creates the table, and imports the client.
    table.load(Rows(0, days).batch())

    def run() -> int:
        if way in (OURS, AGAIN, CHANGED):
            base = 20_000 if way == CHANGED else 10_000
            return int(table.load(Rows(audiences, days, base).batch()).rows)
        moment = datetime.now(UTC).isoformat()
        values = [("audience", str(FIRST_DAY), n, "j2", moment) for n in range(STREAMED)]
        if way == INSERT_ROWS:
            table.hook.insert_rows(TABLE, values, target_fields=COLUMNS)
        else:
            rows = [dict(zip(COLUMNS, row, strict=True)) for row in values]
            table.hook.insert_all(
                project_id=CLOUD_PROJECT, dataset_id=DATASET, table_id=TABLE, rows=rows, fail_on_error=True
            )
        return STREAMED

    measure(run)


if __name__ == "__main__":
    main(__file__, serve, one_way, audiences=10_000)
