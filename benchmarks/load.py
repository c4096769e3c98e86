"""Speed and memory of loading the wide CSV into a table: ours beside the alternatives, in one run.

``load.py [AUDIENCES] [DAYS]``. Each way loads the same file, in a process of its own; printed are rows a second, the
peak of memory above that of the process before the load, and how many times as fast ours is. Ours checks what it reads,
and replaces what the table has of these audiences and days, in one transaction.
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
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.integration.servers.mariadb import mariadb_server, server_binary
from tests.integration.servers.postgres import binaries, postgres_server

REPEATS = 3
TABLE = "audience_trends"
COLUMNS = ("audience", "snapshot_date", "contacts", "job_id", "loaded_at")
FIRST_DAY = date(2025, 1, 1)

OURS, AGAIN, READY = "ours", "ours, the same again", "COPY of a ready file"


def ours(_hook: Any, path: Path) -> None:
    from airflow_provider_cordial.destinations import UiDestination
    from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
    from airflow_provider_cordial.exports.timeframe import Timeframe
    from airflow_provider_cordial.trends import Columns
    from airflow_provider_cordial.trends.completeness import find_missing, spool_rows
    from airflow_provider_cordial.trends.csv import TrendsReader
    from airflow_provider_cordial.trends.delivery import DeliveredTrends
    from airflow_provider_cordial.trends.tables import build_table

    audiences, days = json.loads(path.with_suffix(".json").read_text())
    export = AudienceTrendsExport(
        name="trends",
        audiences=tuple(f"audience_{n}" for n in range(audiences)),
        timeframe=Timeframe(FIRST_DAY, FIRST_DAY + timedelta(days=days - 1)),
        destination=UiDestination(),
    )
    with path.open("rb", buffering=0) as stream:
        spool = spool_rows(TrendsReader(stream), export)
    with closing(DeliveredTrends(export, "j1", str(path), spool, find_missing(spool, export))) as trends:
        assert trends.incomplete is None
        build_table("warehouse", TABLE, Columns()).load(trends.batch(datetime.now(UTC)))


def insert_rows(hook: Any, path: Path) -> None:
    hook.insert_rows(TABLE, long_rows(path), target_fields=list(COLUMNS))


def pandas_melt(hook: Any, path: Path) -> None:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    wide = pd.read_csv(path)
    long = wide.melt(id_vars=["audience"], var_name="snapshot_date", value_name="contacts")
    long["snapshot_date"] = pd.to_datetime(long["snapshot_date"]).dt.date
    long["job_id"] = "j1"
    long["loaded_at"] = datetime.now(UTC).replace(tzinfo=None)
    long.to_sql(TABLE, hook.get_sqlalchemy_engine(), if_exists="append", index=False)


def copy_ready(hook: Any, path: Path) -> None:
    """The limit: a ready file of long rows, which the database reads itself without any check."""
    ready = path.with_suffix(".long")
    with closing(hook.get_conn()) as connection:
        if hook.conn_type == "duckdb":
            connection.execute(f"COPY {TABLE} FROM '{ready}' (DELIMITER '\t', HEADER false)")
            return
        with (
            ready.open("rb") as file,
            closing(connection.cursor()) as cursor,
            cursor.copy(f"COPY {TABLE} FROM STDIN") as stream,
        ):
            while block := file.read(1 << 17):
                stream.write(block)
        connection.commit()


WAYS: dict[str, Callable[[Any, Path], None]] = {
    OURS: ours,
    AGAIN: ours,
    READY: copy_ready,
    "DbApiHook.insert_rows": insert_rows,
    "pandas melt and to_sql": pandas_melt,
}


_OURS = ("airflow_provider_cordial.destinations", "airflow_provider_cordial.trends.delivery")
IMPORTED: dict[str, tuple[str, ...]] = {OURS: _OURS, AGAIN: _OURS, "pandas melt and to_sql": ("pandas",)}


def long_rows(path: Path) -> Iterator[tuple[str, str, int, str, str]]:
    import csv

    moment = datetime.now(UTC).replace(tzinfo=None).isoformat()
    with path.open(newline="") as file:
        reader = csv.reader(file)
        days = next(reader)[1:]
        for audience, *sizes in reader:
            for day, size in zip(days, sizes, strict=True):
                yield audience, day, int(size), "j1", moment


def one_way(name: str, path: Path, *, with_key: bool) -> None:
    """Load in this process, into an empty table except for ``AGAIN``; print seconds and kilobytes."""
    from airflow.sdk import BaseHook

    from airflow_provider_cordial.trends import Columns
    from airflow_provider_cordial.trends.tables import build_table

    hook: Any = BaseHook.get_hook("warehouse")
    table: Any = build_table("warehouse", TABLE, Columns())
    with table.connection() as connection, table.transaction(connection) as cursor:
        if name != AGAIN:
            cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        if with_key:
            table.create(cursor)
        else:
            columns = ", ".join(f"{column} {kind}" for column, kind in table.column_types(cursor).items())
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} ({columns})")
    # A worker has imported the operator's modules, or pandas, before the load: only the load is measured.
    for module in IMPORTED.get(name, ()):
        import_module(module)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    WAYS[name](hook, path)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))


@dataclass(frozen=True)
class Database:
    """A database, the fields of an Airflow connection to it, and the ways to load into it."""

    name: str
    connection: dict[str, Any]
    ways: tuple[str, ...]

    def run(self, way: str, path: Path, *, with_key: bool) -> tuple[float, float]:
        """Return the seconds and the megabytes of one load."""
        environment = {
            **os.environ,
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(self.connection),
            "AIRFLOW_HOME": str(path.parent / "airflow"),
        }
        command = [sys.executable, __file__, "--way", way, str(path), "key" if with_key else ""]
        printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        seconds, kilobytes = json.loads(printed.strip().splitlines()[-1])
        return seconds, kilobytes / 1024

    def compare(self, path: Path, rows: int, *, with_key: bool) -> None:
        print(f"\n{self.name}, {rows:,} rows, {'with a primary key' if with_key else 'without a key'}")
        ours = 0.0
        for way in self.ways:
            # The slow ways once: their order of magnitude is what matters.
            repeats = REPEATS if way in (OURS, AGAIN, READY) else 1
            runs = [self.run(way, path, with_key=with_key) for _ in range(repeats)]
            seconds, megabytes = sorted(run[0] for run in runs)[repeats // 2], max(run[1] for run in runs)
            ours = ours or seconds
            speed = f"{rows / seconds:10,.0f} rows/s {megabytes:6.0f} MB"
            print(f"  {way:23} {speed}   ours is {seconds / ours:6.2f} x as fast")


def write(path: Path, audiences: int, days: int) -> None:
    """Write the wide file, the same as long rows, and its dimensions."""
    path.with_suffix(".json").write_text(json.dumps([audiences, days]))
    names = [str(FIRST_DAY + timedelta(days=n)) for n in range(days)]
    with path.open("w") as wide, path.with_suffix(".long").open("w") as long:
        wide.write("audience," + ",".join(names) + "\n")
        for n in range(audiences):
            sizes = [str(10_000 + (n * 7919 + day * 104_729) % 90_000) for day in range(days)]
            wide.write(f"audience_{n}," + ",".join(sizes) + "\n")
            for name, size in zip(names, sizes, strict=True):
                long.write(f"audience_{n}\t{name}\t{size}\tj1\t2026-11-24 00:00:00\n")


def main(audiences: int, days: int) -> None:
    with tempfile.TemporaryDirectory(prefix="cordial-load-") as name:
        folder = Path(name)
        others = ("DbApiHook.insert_rows", "pandas melt and to_sql")
        databases = [
            Database(
                f"SQLite {sqlite3.sqlite_version}",
                {"conn_type": "sqlite", "host": str(folder / "warehouse.db")},
                (OURS, AGAIN, *others),
            ),
            Database("DuckDB", {"conn_type": "duckdb", "host": str(folder / "warehouse.duckdb")}, (OURS, AGAIN, READY)),
        ]
        with ExitStack() as stack:
            if binaries() is None:
                print("PostgreSQL is not installed here")
            else:
                postgres = stack.enter_context(postgres_server())
                ways = (OURS, AGAIN, READY, *others)
                databases.append(Database("PostgreSQL", postgres.airflow_connection(), ways))
            if server_binary() is None:
                print("MariaDB is not installed here")
            else:
                mariadb = stack.enter_context(mariadb_server())
                databases.append(Database("MariaDB", mariadb.airflow_connection(), (OURS, AGAIN, others[0])))
            compare(databases, folder, audiences, days)


def compare(databases: list[Database], folder: Path, audiences: int, days: int) -> None:
    path = folder / "trends.csv"
    write(path, audiences, days)
    for database in databases:
        for with_key in (False, True):
            database.compare(path, audiences * days, with_key=with_key)
    print("\nMemory of ours, by the length of the file")
    (duckdb,) = [one for one in databases if one.name == "DuckDB"]
    # A key is kept in memory, whatever the limit.
    limited = replace(
        duckdb, name="DuckDB in 64 MB", connection={**duckdb.connection, "extra": {"memory_limit": "64MB"}}
    )
    for length in (31, 366):
        write(path, 10 * audiences, length)
        for database in (*databases, limited):
            seconds, megabytes = database.run(OURS, path, with_key=database is not limited)
            rows = 10 * audiences * length
            size = f"{10 * audiences:,} x {length}"
            print(f"  {database.name:16} {size:>12}: {megabytes:4.0f} MB, {rows / seconds:10,.0f} rows/s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        one_way(sys.argv[2], Path(sys.argv[3]), with_key=bool(sys.argv[4]))
    else:
        main(int((sys.argv[1:] or ["1000"])[0]), int((sys.argv[2:] or ["366"])[0]))
