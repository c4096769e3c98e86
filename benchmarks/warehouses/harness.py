"""What the benchmarks of the warehouses share: the rows, a measurement, and a process per way.

The doubles are not the warehouses: what counts are the ratio of the ways, and the memory of the client above its
imports.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cordial.trends import AudienceRow, TrendsBatch

TABLE = "audience_trends"
COLUMNS = ["audience", "snapshot_date", "contacts", "job_id", "loaded_at"]
FIRST_DAY = date(2025, 1, 1)
OURS, AGAIN, INSERT_ROWS = "ours", "ours, the same again", "DbApiHook.insert_rows"

#: The name, the Airflow connection, the environment of a client, and the ways.
Served = tuple[str, dict[str, Any], dict[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows as a spooled file has them: none is kept."""

    audiences: int
    days: int
    base: int = 10_000

    def __iter__(self) -> Iterator[AudienceRow]:
        from airflow_provider_cordial.trends import AudienceRow

        for n in range(self.audiences):
            sizes = [self.base + (n * 7919 + day * 104_729) % 90_000 for day in range(self.days)]
            yield AudienceRow(f"audience_{n}", sizes)  # type: ignore[arg-type]

    @property
    def dates(self) -> tuple[date, ...]:
        return tuple(FIRST_DAY + timedelta(days=n) for n in range(self.days))

    def batch(self) -> TrendsBatch:
        from airflow_provider_cordial.trends import TrendsBatch

        return TrendsBatch(
            audiences=tuple(f"audience_{n}" for n in range(self.audiences)),
            days=self.dates,
            rows=self,
            blanks=0,
            job_id="j1",
            loaded_at=datetime.now(UTC),
        )


def measure(run: Callable[[], int]) -> None:
    """Run in this process; print rows, seconds, and kilobytes above those before, or why it cannot run.

    :param run: returns the number of rows.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    try:
        rows = run()
    except NotImplementedError:
        print(json.dumps("not implemented"))
        return
    seconds = time.perf_counter() - started
    print(json.dumps([rows, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))


def main(
    script: str,
    serve: Callable[[Path], AbstractContextManager[Served]],
    one_way: Callable[[str, int, int], None],
    *,
    audiences: int = 1000,
    days: int = 366,
) -> None:
    """Run one way in this process (``--way``), or each in a process of its own, and print them."""
    if sys.argv[1:2] == ["--way"]:
        one_way(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    audiences, days = int((sys.argv[1:] or [str(audiences)])[0]), int((sys.argv[2:] or [str(days)])[0])
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
            command = [sys.executable, script, "--way", way, str(audiences), str(days)]
            printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(printed.strip().splitlines()[-1])
            if isinstance(found, str):
                print(f"  {way:24} {found}", flush=True)
                continue
            rows, seconds, kilobytes = found
            speed = speed or rows / seconds
            ratio = f"ours is {speed / (rows / seconds):8.2f} x as fast"
            print(f"  {way:24} {rows / seconds:10,.0f} rows/s {kilobytes / 1024:6.0f} MB   {ratio}", flush=True)
