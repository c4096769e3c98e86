"""What it costs to ask a table of a year and 200 audiences which days it has, and to plan what it lacks.

``coverage.py [AUDIENCES] [DAYS]``. The table is in PostgreSQL, with a key and without; of every twentieth day and of
every fiftieth audience it has nothing. Limits for the usual size: 1 s for the coverage, 0.2 s for the plan.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.integration.servers.postgres import Postgres, binaries, postgres_server

REPEATS = 5
FIRST_DAY = date(2025, 1, 1)
COVERAGE_LIMIT, PLAN_LIMIT = 1.0, 0.2
COLUMNS = "audience text NOT NULL, snapshot_date date NOT NULL, contacts bigint, job_id text, loaded_at timestamptz"


def fill(server: Postgres, table: str, audiences: int, days: int, key: str) -> int:
    """Create a table with holes, and return how many rows it has."""
    with server.connect() as connection:
        connection.execute(f"CREATE TABLE {table} ({COLUMNS}{key})")
        connection.execute(
            f"INSERT INTO {table} SELECT 'audience_' || a, %s::date + d, a * d, 'j', now()"
            " FROM generate_series(0, %s) AS a, generate_series(0, %s) AS d WHERE a %% 50 <> 7 AND d %% 20 <> 3",
            (FIRST_DAY, audiences - 1, days - 1),
        )
        connection.execute(f"ANALYZE {table}")
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)


def best(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of the fastest repetition, and the last result."""
    seconds, result = [], None
    for _ in range(REPEATS):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return min(seconds), result


def main(audiences: int = 200, days: int = 365) -> int:
    if binaries() is None:
        sys.exit("PostgreSQL is not installed: no initdb in /usr/lib/postgresql")
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        os.environ["AIRFLOW_HOME"] = folder
        os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(server.airflow_connection())
        from airflow_provider_cordial.exports import Timeframe
        from airflow_provider_cordial.trends import find_holes, plan_exports, read_coverage

        whole = Timeframe(FIRST_DAY, FIRST_DAY + timedelta(days=days - 1))
        names = [f"audience_{number}" for number in range(audiences)]
        is_slow = False
        for table, key in (("keyed", ", PRIMARY KEY (audience, snapshot_date)"), ("plain", "")):
            rows = fill(server, table, audiences, days, key)
            asked, coverage = best(lambda table=table: read_coverage("warehouse", table, names, whole))  # type: ignore[misc]
            planned, plan = best(lambda coverage=coverage: plan_exports(find_holes(coverage, look_back=7)))  # type: ignore[misc]
            print(
                f"{table}: {audiences} audiences x {days} days, {rows:,} rows: coverage {asked:.2f} s, "
                f"{coverage.counts()['missing']:,} missing; plan {planned:.3f} s, {len(plan)} exports"
            )
            is_slow |= asked > COVERAGE_LIMIT or planned > PLAN_LIMIT
    return int(is_slow)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(*map(int, sys.argv[1:])))
