"""Speed and memory of loading into Redshift's double: ours beside the hook's ``insert_rows``.

``redshift.py [AUDIENCES] [DAYS]``. The double is PostgreSQL behind a proxy and an S3 server, both in this process: its
speed is not that of Redshift. What counts are the ratio and the memory of the client; each way runs in a process of its
own.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # In place of this folder, in which a module may have the name of a client.
    sys.path[0] = str(PROJECT)

from tests.integration.servers import BUCKET
from tests.integration.servers.embedded import s3_server
from tests.integration.servers.postgres import postgres_server
from tests.integration.servers.redshift import redshift_double

TABLE = "audience_trends"
COLUMNS = ["audience", "snapshot_date", "contacts", "job_id", "loaded_at"]
OURS, AGAIN, WITHOUT_A_BUCKET, INSERT_ROWS = "ours", "ours, the same again", "ours, no bucket", "DbApiHook.insert_rows"
WAYS = (OURS, AGAIN, INSERT_ROWS, WITHOUT_A_BUCKET)
FIRST_DAY = date(2025, 1, 1)

#: The most rows of the ways that are slow.
INSERTED = {INSERT_ROWS: 3000, WITHOUT_A_BUCKET: 36_600}


@contextmanager
def serve(_folder: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, str], tuple[str, ...]]]:
    """Yield the name, the Airflow connection, the environment of a client, and the ways."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with postgres_server() as postgres, s3_server() as bucket, redshift_double(postgres, bucket) as server:
        environment = {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(bucket.connection())}
        yield "Redshift (PostgreSQL behind a proxy)", server.airflow_connection(), environment, WAYS


def one_way(way: str, audiences: int, days: int) -> None:
    """Load in this process; print rows, seconds, and kilobytes above the imports."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import BaseHook

    from airflow_provider_cordial.trends import AudienceRow, Columns, TrendsBatch
    from airflow_provider_cordial.trends.tables import Staging, build_table

    audiences = min(audiences, max(1, INSERTED.get(way, sys.maxsize) // days))

    class Rows:
        """The rows as a spooled file has them: none is kept."""

        def __iter__(self) -> Iterator[AudienceRow]:
            return (
                AudienceRow(f"audience_{n}", [10_000 + (n * 7919 + day * 104_729) % 90_000 for day in range(days)])
                for n in range(audiences)
            )

    staging = Staging(location=None if way == WITHOUT_A_BUCKET else f"s3://{BUCKET}/benchmark")
    table: Any = build_table("warehouse", TABLE, Columns(), create=True, staging=staging)
    hook: Any = BaseHook.get_hook("warehouse")
    if way != AGAIN:
        hook.run(f"DROP TABLE IF EXISTS {TABLE}")
    with table.connection() as connection, table.transaction(connection) as cursor:
        table.create(cursor)
    # What a load imports by itself; pyarrow imports pandas, where it is installed.
    import pyarrow as pa
    from pyarrow import parquet

    S3Hook().get_conn()
    parquet.write_table(pa.table({"audience": ["a"]}), pa.BufferOutputStream())
    dates = tuple(FIRST_DAY + timedelta(days=n) for n in range(days))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if way == INSERT_ROWS:
        moment = datetime.now(UTC).replace(tzinfo=None)
        cells = ((row.audience, day, size) for row in Rows() for day, size in zip(dates, row.contacts, strict=True))
        hook.insert_rows(TABLE, ((*cell, "j1", moment) for cell in cells), target_fields=COLUMNS)
    else:
        names = tuple(f"audience_{n}" for n in range(audiences))
        batch = TrendsBatch(
            audiences=names, days=dates, rows=Rows(), blanks=0, job_id="j1", loaded_at=datetime.now(UTC)
        )
        assert table.load(batch).rows == audiences * days
    seconds = time.perf_counter() - started
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([audiences * days, seconds, kilobytes]))


def main(audiences: int, days: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="cordial-load-") as name,
        serve(Path(name)) as (title, connection, variables, ways),
    ):
        environment = {
            **os.environ,
            **variables,
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(connection),
            "AIRFLOW_HOME": str(Path(name) / "airflow"),
        }
        print(f"{title}, {audiences:,} x {days} = {audiences * days:,} rows")
        speed = 0.0
        for way in ways:
            command = [sys.executable, __file__, "--way", way, str(audiences), str(days)]
            printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            rows, seconds, kilobytes = json.loads(printed.strip().splitlines()[-1])
            speed = speed or rows / seconds
            ratio = f"ours is {speed / (rows / seconds):8.2f} x as fast"
            print(f"  {way:23} {rows / seconds:10,.0f} rows/s {kilobytes / 1024:6.0f} MB   {ratio}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        one_way(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(int((sys.argv[1:] or ["1000"])[0]), int((sys.argv[2:] or ["366"])[0]))
