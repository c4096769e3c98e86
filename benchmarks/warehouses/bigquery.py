"""Speed and memory of loading into an emulator of BigQuery: ours beside what the hook has to insert rows.

``bigquery.py [AUDIENCES] [DAYS]``, by default 3.66 million rows. The speed is that of the emulator; what counts is the
ratio, and the memory of the client above its imports, which must not grow with the file. Each way runs in a process of
its own.
"""

from __future__ import annotations

import json
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
    # In place of this folder: its modules are named like packages.
    sys.path[0] = str(PROJECT)

from tests.integration.servers.bigquery import DATASET, bigquery_server
from tests.integration.servers.bigquery import PROJECT as CLOUD_PROJECT

TABLE = "audience_trends"
FIRST_DAY = date(2025, 1, 1)

OURS, AGAIN, CHANGED = "ours", "ours, the same again", "ours, all changed"
INSERT_ROWS, INSERT_ALL = "BigQueryHook.insert_rows", "BigQueryHook.insert_all"
WAYS = (OURS, AGAIN, CHANGED, INSERT_ROWS, INSERT_ALL)

#: The emulator compares each row of the table with each that a MERGE inserts.
MOST_CHANGED = 50_000

#: The limit of a request that streams rows.
STREAMED = 10_000


@contextmanager
def serve() -> Iterator[tuple[str, dict[str, Any], dict[str, str], tuple[str, ...]]]:
    """Yield the name, the fields of an Airflow connection, the environment of a client, and the ways."""
    with bigquery_server() as server:
        environment = {"BIGQUERY_EMULATOR_HOST": server.url}
        yield "BigQuery (bqemulator)", server.airflow_connection(), environment, WAYS


def one_way(way: str, audiences: int, days: int) -> None:
    """Load in this process; print rows, seconds, and kilobytes above the imports, or why it cannot."""
    # What a load imports.
    import pyarrow.parquet  # noqa: F401

    from airflow_provider_cordial.trends import AudienceRow, Columns, TrendsBatch
    from airflow_provider_cordial.trends.tables import build_table

    class Rows:
        """The rows as a spooled file has them."""

        def __iter__(self) -> Iterator[AudienceRow]:
            base = 20_000 if way == CHANGED else 10_000
            for n in range(audiences):
                yield AudienceRow(f"audience_{n}", [base + (n * 7919 + day * 104_729) % 90_000 for day in range(days)])

    def batch(audiences: int) -> TrendsBatch:
        return TrendsBatch(
            audiences=tuple(f"audience_{n}" for n in range(audiences)),
            days=tuple(FIRST_DAY + timedelta(days=n) for n in range(days)),
            rows=Rows(),
            blanks=0,
            job_id="j1",
            loaded_at=datetime.now(UTC),
        )

    if way == CHANGED and audiences * days > MOST_CHANGED:
        print(json.dumps(f"not run: the emulator's MERGE is quadratic; give fewer than {MOST_CHANGED:,} rows"))
        return
    table: Any = build_table("warehouse", f"{DATASET}.{TABLE}", Columns(), create=True)
    # Creates the table, and imports the client.
    table.load(batch(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    count = audiences * days
    if way in (OURS, AGAIN, CHANGED):
        assert table.load(batch(audiences)).rows == count
    else:
        count = STREAMED
        names = ("audience", "snapshot_date", "contacts", "job_id", "loaded_at")
        moment = datetime.now(UTC).isoformat()
        values = [("audience", str(FIRST_DAY), n, "j2", moment) for n in range(count)]
        try:
            if way == INSERT_ROWS:
                table.hook.insert_rows(TABLE, values, target_fields=names)
            else:
                rows = [dict(zip(names, row, strict=True)) for row in values]
                table.hook.insert_all(
                    project_id=CLOUD_PROJECT, dataset_id=DATASET, table_id=TABLE, rows=rows, fail_on_error=True
                )
        except NotImplementedError:
            print(json.dumps("not implemented"))
            return
    seconds = time.perf_counter() - started
    print(json.dumps([count, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))


def main(audiences: int, days: int) -> None:
    with tempfile.TemporaryDirectory(prefix="cordial-load-") as home, serve() as (title, connection, client, ways):
        environment = {
            **os.environ,
            **client,
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(connection),
            "AIRFLOW_HOME": home,
            "PYTHONPATH": str(PROJECT),
        }
        print(f"{title}, {audiences:,} audiences x {days} days = {audiences * days:,} rows")
        for way in ways:
            command = [sys.executable, __file__, "--way", way, str(audiences), str(days)]
            printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(printed.strip().splitlines()[-1])
            if isinstance(found, str):
                print(f"  {way:24} {found}")
                continue
            rows, seconds, kilobytes = found
            print(f"  {way:24} {rows:10,} rows {rows / seconds:10,.0f} rows/s {kilobytes / 1024:5.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        one_way(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(int((sys.argv[1:] or ["10000"])[0]), int((sys.argv[2:] or ["366"])[0]))
