"""Speed and memory of loading into the double of Databricks: ours beside the hook's ``insert_rows``.

``databricks.py [AUDIENCES] [DAYS]``. The double runs statements on Sail: its speed is not that of Databricks; what
counts are the ratio and the memory of the client. Each way runs in a process of its own.
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
from importlib import import_module
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # In place of this folder, in which a module has the name of the connector.
    sys.path[0] = str(PROJECT)

from tests.integration.servers.databricks import VOLUME, databricks_server

TABLE = "audience_trends"
FIRST_DAY = date(2025, 1, 1)
OURS, AGAIN, INSERT_ROWS = "ours", "ours, the same again", "DbApiHook.insert_rows"
WAYS = (OURS, AGAIN, INSERT_ROWS)

#: A statement, and a commit, per row: few are enough to measure it.
INSERTED = 100


@contextmanager
def serve(_folder: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, str], tuple[str, ...]]]:
    """Yield the name, the Airflow connection, the environment of a client, and the ways."""
    with databricks_server() as server:
        # The hook's own placeholder is not that of the connector.
        yield "Databricks (Sail)", server.airflow_connection(placeholder="?"), {}, WAYS


def one_way(way: str, audiences: int, days: int) -> None:
    """Load in this process; print rows, seconds, and kilobytes above the imports."""
    from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

    from airflow_provider_cordial.trends import AudienceRow, Columns, TrendsBatch
    from airflow_provider_cordial.trends.tables import Staging, build_table

    class Rows:
        """The rows as a spooled file has them: none is kept."""

        def __iter__(self) -> Iterator[AudienceRow]:
            return (
                AudienceRow(f"audience_{n}", [10_000 + (n * 7919 + day * 104_729) % 90_000 for day in range(days)])
                for n in range(audiences)
            )

    table: Any = build_table("warehouse", TABLE, Columns(), create=True, staging=Staging(location=VOLUME))
    hook: Any = DatabricksSqlHook("warehouse")
    # What a load imports by itself, and a first session.
    for name in ("databricks.sql.client", "pyarrow.parquet"):
        import_module(name)
    hook.get_first("SELECT 1")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if way == INSERT_ROWS:
        rows = INSERTED
        columns = ["audience", "snapshot_date", "contacts", "job_id", "loaded_at"]
        moment = datetime(2026, 11, 25, tzinfo=UTC)
        one = [("audience", FIRST_DAY + timedelta(days=n), n, "j1", moment) for n in range(rows)]
        hook.insert_rows(TABLE, one, target_fields=columns)
    else:
        rows = audiences * days
        result = table.load(
            TrendsBatch(
                audiences=tuple(f"audience_{n}" for n in range(audiences)),
                days=tuple(FIRST_DAY + timedelta(days=n) for n in range(days)),
                rows=Rows(),
                blanks=0,
                job_id="j1",
                loaded_at=datetime.now(UTC),
            )
        )
        assert result.rows == rows
    seconds = time.perf_counter() - started
    print(json.dumps([rows, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))


def main(audiences: int, days: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="cordial-load-") as name,
        serve(Path(name)) as (title, connection, env, ways),
    ):
        environment = {
            **os.environ,
            **env,
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
            print(f"  {way:23} {rows / seconds:10,.0f} rows/s {kilobytes / 1024:6.0f} MB   {ratio}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        one_way(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(int((sys.argv[1:] or ["1000"])[0]), int((sys.argv[2:] or ["366"])[0]))
