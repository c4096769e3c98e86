"""Speed and memory of loading into Redshift's double: ours beside the hook's ``insert_rows``.

``redshift.py [AUDIENCES] [DAYS]``. The double is PostgreSQL behind a proxy and an S3 server, both in this process: its
speed is not that of Redshift. What counts are the ratio and the memory of the client; each way runs in a process of its
own.
"""

from __future__ import annotations

import json
import logging
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

from tests.integration.servers import BUCKET
from tests.integration.servers.embedded import s3_server
from tests.integration.servers.postgres import postgres_server
from tests.integration.servers.redshift import redshift_double
from warehouses.harness import AGAIN, COLUMNS, INSERT_ROWS, OURS, TABLE, Rows, Served, main, measure

WITHOUT_A_BUCKET = "ours, no bucket"

#: The most rows of the ways that are slow.
INSERTED = {INSERT_ROWS: 3000, WITHOUT_A_BUCKET: 36_600}


@contextmanager
def serve(_folder: Path) -> Iterator[Served]:
    """Serve the double, and S3."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with postgres_server() as postgres, s3_server() as bucket, redshift_double(postgres, bucket) as server:
        environment = {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(bucket.connection())}
        ways = (OURS, AGAIN, INSERT_ROWS, WITHOUT_A_BUCKET)
        yield "Redshift (PostgreSQL behind a proxy)", server.airflow_connection(), environment, ways


def one_way(way: str, audiences: int, days: int) -> None:
    """Load in this process."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import BaseHook

    from airflow_provider_cordial.trends import Columns
    from airflow_provider_cordial.trends.tables import Staging, build_table

    rows = Rows(min(audiences, max(1, INSERTED.get(way, sys.maxsize) // days)), days)
    staging = Staging(location=None if way == WITHOUT_A_BUCKET else f"s3://{BUCKET}/benchmark")
    table: Any = build_table("warehouse", TABLE, Columns(), create=True, staging=staging)
    hook: Any = BaseHook.get_hook("warehouse")
    if way != AGAIN:
        hook.run(f"DROP TABLE IF EXISTS {TABLE}")
    with table.connection() as connection, table.transaction(connection) as cursor:
        table.create(cursor)
    # What a load imports; pyarrow imports pandas, where it is installed.
    import pyarrow as pa
    from pyarrow import parquet

    S3Hook().get_conn()
    parquet.write_table(pa.table({"audience": ["a"]}), pa.BufferOutputStream())

    def run() -> int:
        if way != INSERT_ROWS:
            return int(table.load(rows.batch()).rows)
        moment = datetime.now(UTC).replace(tzinfo=None)
        cells = ((row.audience, day, size) for row in rows for day, size in zip(rows.dates, row.contacts, strict=True))
        hook.insert_rows(TABLE, ((*cell, "j1", moment) for cell in cells), target_fields=COLUMNS)
        return rows.audiences * days

    measure(run)


if __name__ == "__main__":
    main(__file__, serve, one_way)
