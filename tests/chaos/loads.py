"""Kill loads at random moments: after each kill the target has exactly the old rows, or exactly the new ones."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.integration.servers import Bucket

#: What is loaded: so many audiences on so many days.
AUDIENCES, DAYS = 400, 31
FIRST_DAY = date(2026, 10, 1)
TABLE = "audience_trends"

#: Imported once, in the process that all loads are forked from.
PRELOADED = [
    "duckdb",
    "fsspec",
    "mysql.connector",
    "psycopg",
    "s3fs",
    "airflow.providers.amazon.aws.fs.s3",
    "airflow.providers.mysql.hooks.mysql",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.sqlite.hooks.sqlite",
    "airflow_provider_cordial.transfers",
    "airflow_provider_cordial.trends.delivery",
    "airflow_provider_cordial.trends.files",
    "airflow_provider_cordial.trends.tables.duckdb",
    "airflow_provider_cordial.trends.tables.mysql",
    "airflow_provider_cordial.trends.tables.postgres",
    "airflow_provider_cordial.trends.tables.sqlite",
    "tests.chaos.loads",
    "tests.chaos.preloaded",
]

START_TIMEOUT = 60.0


@dataclass(frozen=True)
class Target:
    """Where the loads go.

    :param connections: the Airflow connections, by id.
    :param read: returns the version that the target has, 1 or 2; 0 for anything else.
    :param path: of files; None for the table behind the connection ``warehouse``.
    """

    name: str
    connections: dict[str, dict[str, Any]]
    read: Callable[[], int]
    path: str | None = None


@dataclass
class Kills:
    """What was found after the kills of the loads into one target.

    :param retries: loads after a kill that did not end with the new rows.
    """

    kills: int = 0
    old: int = 0
    new: int = 0
    neither: int = 0
    retries: int = 0
    failures: list[str] = field(default_factory=list)


def load(target: Target, version: int) -> dict[str, Any]:
    """Load a version through its operator, from a local spool: the destination is not what is tested."""
    from airflow_provider_cordial.destinations import UiDestination
    from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
    from airflow_provider_cordial.exports.timeframe import Timeframe
    from airflow_provider_cordial.transfers import AudienceTrendsToFileOperator, AudienceTrendsToSqlOperator
    from airflow_provider_cordial.trends.delivery import DeliveredTrends
    from airflow_provider_cordial.trends.spool import Spool

    for conn_id, fields in target.connections.items():
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)
    days = [FIRST_DAY + timedelta(days=n) for n in range(DAYS)]
    names = tuple(f"audience {n}" for n in range(AUDIENCES))
    export = AudienceTrendsExport(
        name="trends", audiences=names, timeframe=Timeframe(days[0], days[-1]), destination=UiDestination()
    )

    @contextmanager
    def open_trends(_context: Any) -> Iterator[DeliveredTrends]:
        with closing(Spool(days)) as spool:
            for name in names:
                spool.add(name, array("q", [version] * DAYS), 0)
            yield DeliveredTrends(export, f"j{version}", "trends.csv", spool)

    operator: Any
    if target.path is None:
        operator = AudienceTrendsToSqlOperator(
            task_id="load", export=None, conn_id="warehouse", table=TABLE, create_table=True, corrections=True
        )
    else:
        operator = AudienceTrendsToFileOperator(
            task_id="load", export=None, path=target.path, path_conn_id="files", partition_by_day=False
        )
        if "files" not in target.connections:
            operator.path_conn_id = None
    operator._open_trends = open_trends
    result: dict[str, Any] = operator.execute({})
    return result


def read_rows(run: Callable[[str], list[tuple[Any, ...]]]) -> int:
    """Return the version that a table has: all rows of it and no other, and the corrections that led to it."""
    ((count, *found),) = run(
        f"SELECT count(*), min(contacts), max(contacts), min(job_id), max(job_id) FROM {TABLE}",
    )
    versions = [v for v in (1, 2) if (count, found) == (AUDIENCES * DAYS, [v, v, f"j{v}", f"j{v}"])]
    # Each version corrects all cells of the other one.
    ((corrections, change),) = run(
        f"SELECT count(*), coalesce(sum(new_contacts - old_contacts), 0) FROM {TABLE}_corrections"
    )
    loads, rest = divmod(corrections, AUDIENCES * DAYS)
    is_recorded = (rest, change) == (0, loads % 2 * AUDIENCES * DAYS)
    return versions[0] if is_recorded and versions == [1 + loads % 2] else 0


def read_content(content: bytes | None) -> int:
    """Return the version that a file has, from its first byte to its last."""
    for version in (1, 2):
        lines = [
            f"audience {n},{FIRST_DAY + timedelta(days=day)},{version}" for n in range(AUDIENCES) for day in range(DAYS)
        ]
        if content == "\n".join(["audience,snapshot_date,contacts", *lines, ""]).encode():
            return version
    return 0


def read_folder(folder: Path) -> int:
    """Return the version that the visible files of a folder have."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return read_content(files[0].read_bytes()) if len(files) == 1 else 0


def file_databases(folder: Path) -> Iterator[Target]:
    """Yield a table in SQLite and one in DuckDB."""
    import duckdb

    connect: dict[str, Any] = {"sqlite": sqlite3.connect, "duckdb": duckdb.connect}
    for name, label in (("sqlite", "SQLite"), ("duckdb", "DuckDB")):
        path = str(folder / name)

        def run(statement: str, name: str = name, path: str = path) -> list[tuple[Any, ...]]:
            with closing(connect[name](path)) as connection:
                return list(connection.execute(statement).fetchall())

        connections = {"warehouse": {"conn_type": name, "host": path}}
        yield Target(label, connections, lambda run=run: read_rows(run))  # type: ignore[misc]


def postgres_target(server: Any) -> Target:
    """Return a table in PostgreSQL, which is read when the killed session has ended."""

    def run(statement: str) -> list[tuple[Any, ...]]:
        with server.connect() as connection:
            others = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            _wait_until(lambda: connection.execute(others).fetchone() == (0,))
            return list(connection.execute(statement).fetchall())

    return Target("PostgreSQL", {"warehouse": server.airflow_connection()}, lambda: read_rows(run))


def mariadb_target(server: Any) -> Target:
    """Return a table in MariaDB, which is read when the killed session has ended."""

    def run(statement: str) -> list[tuple[Any, ...]]:
        others = (
            f"SELECT count(*) FROM information_schema.processlist WHERE user = '{server.user}' "
            "AND id <> connection_id()"
        )
        _wait_until(lambda: server.query(others) == [(0,)])
        return list(server.query(statement))

    return Target("MariaDB", {"warehouse": server.airflow_connection()}, lambda: read_rows(run))


def local_target(folder: Path) -> Target:
    return Target("files, local disk", {}, lambda: read_folder(folder), path=str(folder))


def s3_target(bucket: Bucket) -> Target:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=bucket.url,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
    )

    def read() -> int:
        found = client.list_objects_v2(Bucket=bucket.name, Prefix="killed/").get("Contents", [])
        if len(found) != 1:
            return 0
        return read_content(client.get_object(Bucket=bucket.name, Key=found[0]["Key"])["Body"].read())

    return Target("files, S3", {"files": bucket.connection()}, read, path=f"s3://{bucket.name}/killed")


def kill_loads(target: Target, kills: int, seed: int) -> Kills:
    """Kill so many loads into a target, and load again after each."""
    dice = random.Random(f"{target.name} {seed}")
    counts = Kills()
    _complete(target, 1)
    now = 1
    # The first load is slower than those that replace it.
    length = max(_complete(target, 2), _complete(target, 1)) if kills else 0.0
    while counts.kills < kills:
        new = 3 - now
        process, started = _start(target, new)
        time.sleep(max(0.0, started + dice.uniform(0, 1.1 * length) - time.monotonic()))
        process.kill()
        process.join()
        found = target.read()
        if process.exitcode != -signal.SIGKILL:
            # It ended before.
            now = new
            continue
        counts.kills += 1
        if found == now:
            counts.old += 1
        elif found == new:
            counts.new += 1
        else:
            counts.neither += 1
            counts.failures.append(f"{target.name}: neither the old nor the new rows after kill {counts.kills}")
        _complete(target, new)
        now = target.read()
        if now != new:
            counts.retries += 1
            counts.failures.append(f"{target.name}: the load after kill {counts.kills} did not end with the new rows")
            now = new
    return counts


def _complete(target: Target, version: int) -> float:
    """Load without a kill, and return the seconds."""
    process, started = _start(target, version)
    process.join()
    if process.exitcode != 0:
        msg = f"{target.name}: the load failed with exit code {process.exitcode}"
        raise RuntimeError(msg)
    return time.monotonic() - started


def _start(target: Target, version: int) -> tuple[Any, float]:
    """Start a load in a process of its own, and return it at the moment when the load begins."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    near, far = context.Pipe(duplex=False)
    # Without the function that reads it, which the process cannot receive.
    process = context.Process(target=_run, args=(target.connections, target.path, version, far))
    process.start()
    far.close()
    with closing(near):
        if not near.poll(START_TIMEOUT):
            process.kill()
            msg = f"{target.name}: the load did not start"
            raise RuntimeError(msg)
        near.recv()
    return process, time.monotonic()


def _run(connections: dict[str, dict[str, Any]], path: str | None, version: int, started: Connection) -> None:
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())
        # A temporary folder of the test: nobody removes those of killed processes.
        started.send(True)
        load(Target("", connections, lambda: 0, path), version)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            msg = "the session of a killed load did not end"
            raise RuntimeError(msg)
        time.sleep(0.01)
