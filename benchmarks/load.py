"""How fast, and in how much memory, the wide CSV gets into a table: ours beside what else one might do, in one run.

``load.py [AUDIENCES] [DAYS]``. Each way loads the same file into an empty table with a primary key, in a process of its
own, and prints rows a second and the peak of memory above that of the process before the load.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.integration.servers.postgres import Postgres, binaries, postgres_server

REPEATS = 3
TABLE = "audience_trends"
COLUMNS = ("audience", "snapshot_date", "contacts", "job_id", "loaded_at")


def ours(hook: Any, path: Path) -> None:
    from airflow_provider_cordial.trends_csv import TrendsReader
    from airflow_provider_cordial.warehouse import Columns, table_of

    table = table_of(hook, TABLE, Columns())
    with path.open("rb", buffering=0) as stream, closing(hook.get_conn()) as connection:
        reader = TrendsReader(stream)
        with table.transaction(connection) as cursor:
            table.create(cursor)
            table.lock(cursor)
            table.insert(cursor, reader.days, reader, job_id="j1", loaded_at=datetime.now(UTC))


def insert_rows(hook: Any, path: Path) -> None:
    create(hook)
    hook.insert_rows(TABLE, long_rows(path), target_fields=list(COLUMNS))


def pandas_melt(hook: Any, path: Path) -> None:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    create(hook)
    wide = pd.read_csv(path)
    long = wide.melt(id_vars=["audience"], var_name="snapshot_date", value_name="contacts")
    long["snapshot_date"] = pd.to_datetime(long["snapshot_date"]).dt.date
    long["job_id"] = "j1"
    long["loaded_at"] = datetime.now(UTC).replace(tzinfo=None)
    long.to_sql(TABLE, hook.get_sqlalchemy_engine(), if_exists="append", index=False)


def raw_copy(hook: Any, path: Path) -> None:
    """The limit: a file that is ready, through psycopg, and nothing is checked."""
    create(hook)
    with closing(hook.get_conn()) as connection, path.with_suffix(".long").open("rb") as file:
        with closing(connection.cursor()) as cursor, cursor.copy(f"COPY {TABLE} FROM STDIN") as stream:
            while block := file.read(1 << 17):
                stream.write(block)
        connection.commit()


WAYS: dict[str, Callable[[Any, Path], None]] = {
    "ours": ours,
    "raw COPY of a ready file": raw_copy,
    "DbApiHook.insert_rows": insert_rows,
    "pandas melt and to_sql": pandas_melt,
}


def create(hook: Any) -> None:
    from airflow_provider_cordial.warehouse import Columns, table_of

    with closing(hook.get_conn()) as connection:
        with closing(connection.cursor()) as cursor:
            table_of(hook, TABLE, Columns()).create(cursor)
        connection.commit()


def long_rows(path: Path) -> Iterator[tuple[str, str, int, str, str]]:
    import csv

    moment = datetime.now(UTC).replace(tzinfo=None).isoformat()
    with path.open(newline="") as file:
        reader = csv.reader(file)
        days = next(reader)[1:]
        for audience, *sizes in reader:
            for day, size in zip(days, sizes, strict=True):
                yield audience, day, int(size), "j1", moment


def one_way(name: str, path: Path) -> None:
    """Load in this process, and print seconds and kilobytes."""
    from airflow.sdk import BaseHook

    hook = BaseHook.get_hook("warehouse")
    with closing(hook.get_conn()):
        pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    WAYS[name](hook, path)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))


def write(path: Path, audiences: int, days: int) -> None:
    names = [str(date(2025, 1, 1) + timedelta(days=n)) for n in range(days)]
    with path.open("w") as wide, path.with_suffix(".long").open("w") as long:
        wide.write("audience," + ",".join(names) + "\n")
        for n in range(audiences):
            sizes = [str(10_000 + (n * 7919 + day * 104_729) % 90_000) for day in range(days)]
            wide.write(f"audience_{n}," + ",".join(sizes) + "\n")
            for name, size in zip(names, sizes, strict=True):
                long.write(f"audience_{n}\t{name}\t{size}\tj1\t2026-11-24 00:00:00\n")


def measure(
    label: str, connection: dict[str, Any], reset: Callable[[], None], path: Path, rows: int, ways: list[str]
) -> None:
    environment = {
        **os.environ,
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(connection),
        "AIRFLOW_HOME": str(path.parent / "airflow"),
    }
    print(f"\n{label}, {rows:,} rows")
    best: dict[str, float] = {}
    for name in ways:
        runs = []
        # The slow ways once: their order of magnitude is what matters.
        for _ in range(REPEATS if name in ("ours", "raw COPY of a ready file") else 1):
            reset()
            command = [sys.executable, __file__, "--way", name, str(path)]
            printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            runs.append(json.loads(printed.strip().splitlines()[-1]))
        seconds, kilobytes = sorted(run[0] for run in runs)[len(runs) // 2], max(run[1] for run in runs)
        best[name] = rows / seconds
        ratio = best["ours"] / best[name]
        print(f"  {name:26} {rows / seconds:12,.0f} rows/s {kilobytes / 1024:8.0f} MB   ours is {ratio:6.2f} x")


def main(audiences: int, days: int) -> None:
    with tempfile.TemporaryDirectory(prefix="cordial-load-") as folder:
        path = Path(folder) / "trends.csv"
        write(path, audiences, days)
        database = Path(folder) / "warehouse.db"
        everything = [name for name in WAYS if name != "raw COPY of a ready file"]
        measure(
            f"SQLite {sqlite3.sqlite_version}",
            {"conn_type": "sqlite", "host": str(database)},
            lambda: database.unlink(missing_ok=True),
            path,
            audiences * days,
            everything,
        )
        if binaries() is None:
            print("\nPostgreSQL is not installed here")
            return
        with postgres_server() as server:
            measure(
                "PostgreSQL",
                server.airflow_connection(),
                lambda: drop(server),
                path,
                audiences * days,
                list(WAYS),
            )


def drop(server: Postgres) -> None:
    with server.connect() as connection:
        connection.execute(f"DROP TABLE IF EXISTS {TABLE}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        one_way(sys.argv[2], Path(sys.argv[3]))
    else:
        main(int((sys.argv[1:] or ["1000"])[0]), int((sys.argv[2:] or ["366"])[0]))
