"""Loading into a real PostgreSQL: by COPY, with concurrent overlapping loads, and killed halfway."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.trends import Columns, IncompleteTrendsError
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import ODD, deliver, export, load
from tests.helpers.sandbox import SetConnection
from tests.integration.servers.postgres import Postgres

Query = Callable[..., list[tuple[Any, ...]]]

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def query(cordial: SandboxProcess, postgres: Postgres, set_connection: SetConnection) -> Iterator[Query]:
    """Query the database behind the connection ``warehouse``, which is empty at the start of each test."""
    set_connection("warehouse", **postgres.airflow_connection())
    with postgres.connect() as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

        def ask(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []

        yield ask


ROWS = "SELECT audience, snapshot_date, contacts, job_id FROM {} ORDER BY audience, snapshot_date"


def test_names_are_loaded_unchanged_each_time(cordial: SandboxProcess, query: Query) -> None:
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["audience", "2026-11-10", "2026-11-11"])
    writer.writerows([name, n, ""] for n, name in enumerate(ODD))
    deliver(cordial, text.getvalue())
    expected = sorted(
        (name, day, contacts, "j1")
        for n, name in enumerate(ODD)
        for day, contacts in ((date(2026, 11, 10), n), (date(2026, 11, 11), None))
    )
    for _ in range(2):
        counts = load(export(audiences=ODD))
        assert sorted(query(ROWS.format("audience_trends"))) == expected
        assert counts["rows"] == 2 * len(ODD)


def test_unchanged_rows_are_not_written_again(cordial: SandboxProcess, query: Query) -> None:
    where = "SELECT audience, snapshot_date, contacts, job_id, xmin::text FROM audience_trends ORDER BY 1, 2"
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,\nb,3,4\n")
    load(export(audiences=["a", "b"]))
    first = query(where)
    load(export(audiences=["a", "b"]))
    assert query(where) == first
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\nb,3,\n")
    load(export(audiences=["a", "b"]))
    now = query(where)
    assert [row[:4] for row in now] == [
        ("a", date(2026, 11, 10), 1, "j1"),
        ("a", date(2026, 11, 11), 2, "j1"),
        ("b", date(2026, 11, 10), 3, "j1"),
        ("b", date(2026, 11, 11), None, "j1"),
    ]
    assert [row[4] == before[4] for row, before in zip(now, first, strict=True)] == [True, False, True, False]
    deliver(cordial, "audience,2026-11-10\na,1\n")
    load(export(audiences=["a", "b"], job_id="j2"), on_missing="ignore")
    assert [row[:4] for row in query(where)] == [("a", date(2026, 11, 10), 1, "j2")]


#: Tables that were created by somebody else.
TABLES = [
    pytest.param(
        "audience VARCHAR(100), snapshot_date DATE, contacts INTEGER, job_id TEXT, loaded_at TIMESTAMPTZ", id="types"
    ),
    pytest.param(
        "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, audience TEXT, snapshot_date DATE, contacts BIGINT, "
        "job_id TEXT, loaded_at TIMESTAMP NOT NULL, note TEXT, UNIQUE (snapshot_date, audience)",
        id="more-columns",
    ),
    pytest.param(
        "audience TEXT, snapshot_date DATE, contacts BIGINT, job_id TEXT, loaded_at TIMESTAMP, "
        "UNIQUE (snapshot_date, audience, job_id)",
        id="another-key",
    ),
]


@pytest.mark.parametrize("columns", TABLES)
def test_an_existing_table_is_loaded(cordial: SandboxProcess, query: Query, columns: str) -> None:
    query(f"CREATE TABLE audience_trends ({columns})")
    query("INSERT INTO audience_trends (audience, snapshot_date, loaded_at) VALUES ('a', '2026-11-01', now())")
    for contacts, job_id in ((1, "j1"), (1, "j1"), (2, "j2")):
        deliver(cordial, f'audience,2026-11-10,2026-11-11\na,{contacts},\n"tab\t\\N",7,8\n')
        load(export(audiences=["a", "tab\t\\N"], job_id=job_id), create_table=False)
        assert sorted(query(ROWS.format("audience_trends")), key=str) == [
            ("a", date(2026, 11, 1), None, None),
            ("a", date(2026, 11, 10), contacts, job_id),
            ("a", date(2026, 11, 11), None, job_id),
            ("tab\t\\N", date(2026, 11, 10), 7, job_id),
            ("tab\t\\N", date(2026, 11, 11), 8, job_id),
        ]


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ"])
def test_the_load_time_is_utc(cordial: SandboxProcess, query: Query, kind: str) -> None:
    query(
        "CREATE TABLE audience_trends (audience TEXT, snapshot_date DATE, contacts BIGINT, job_id TEXT, "
        f"loaded_at {kind})"
    )
    query("ALTER ROLE CURRENT_USER SET timezone TO 'America/Los_Angeles'")
    try:
        deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
        load(export(audiences=["a"]))
        ((moment,),) = query("SELECT DISTINCT loaded_at FROM audience_trends")
        assert abs(datetime.now(UTC) - moment.replace(tzinfo=moment.tzinfo or UTC)) < timedelta(minutes=1)
    finally:
        query("ALTER ROLE CURRENT_USER RESET timezone")


def test_a_schema_with_other_names_and_constants(cordial: SandboxProcess, query: Query) -> None:
    query("CREATE SCHEMA marketing")
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
    columns = Columns(names={"audience": "Segment"}, constants={"account": "acme\t\\N"})
    load(export(audiences=["a"]), table="marketing.trends", columns=columns)
    assert query('SELECT "Segment", contacts, account FROM marketing.trends ORDER BY contacts') == [
        ("a", 1, "acme\t\\N"),
        ("a", 2, "acme\t\\N"),
    ]
    types = query("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'trends'")
    assert {("snapshot_date", "date"), ("contacts", "bigint")} <= set(types)


def test_an_invalid_file_leaves_the_table_unchanged(cordial: SandboxProcess, query: Query) -> None:
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
    load(export(audiences=["a"]))
    before = query(ROWS.format("audience_trends"))
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,8,9\nb,8,9\n")
    with pytest.raises(IncompleteTrendsError):
        load(export(audiences=["a"], job_id="j2"))
    assert query(ROWS.format("audience_trends")) == before


def test_concurrent_overlapping_loads_end_with_right_rows(cordial: SandboxProcess, query: Query) -> None:
    days = [f"2026-11-{day:02}" for day in range(1, 21)]
    audiences = [f"a{n}" for n in range(200)]
    exports = []
    for number, (first, last) in enumerate([(0, 12), (4, 16), (8, 20), (0, 20)]):
        mine = days[first:last]
        lines = ["audience," + ",".join(mine), *(name + f",{number}" * len(mine) for name in audiences)]
        deliver(cordial, "\n".join(lines), f"trends{number}.csv")
        exports.append(
            export(
                name=f"trends{number}",
                job_id=f"j{number}",
                audiences=audiences,
                selected_timeframe_start=mine[0],
                selected_timeframe_end=mine[-1],
            )
        )
    load(exports[0])
    errors: list[BaseException] = []

    def run(record: dict[str, Any]) -> None:
        try:
            load(record, create_table=False)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    for _ in range(3):
        threads = [threading.Thread(target=run, args=(record,)) for record in exports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        # One row per audience and day; all rows of a day come from one load, whose export has that day.
        assert query("SELECT count(*), count(DISTINCT (audience, snapshot_date)) FROM audience_trends") == [
            (4000, 4000)
        ]
        by_day = query("SELECT snapshot_date, array_agg(DISTINCT job_id) FROM audience_trends GROUP BY 1 ORDER BY 1")
        for day, jobs in by_day:
            assert len(jobs) == 1
            asked = exports[int(jobs[0][1:])]
            assert asked["selected_timeframe_start"] <= str(day) <= asked["selected_timeframe_end"]
        assert query("SELECT count(*) FROM audience_trends WHERE contacts::text <> substr(job_id, 2)") == [(0,)]


def test_a_killed_load_leaves_the_table_unchanged(cordial: SandboxProcess, query: Query) -> None:
    days = [f"2026-10-{day:02}" for day in range(1, 32)]
    audiences = [f"a{n}" for n in range(20_000)]

    def record(size: int, job_id: str) -> dict[str, Any]:
        deliver(cordial, "\n".join(["audience," + ",".join(days), *(name + f",{size}" * 31 for name in audiences)]))
        return export(
            audiences=audiences, job_id=job_id, selected_timeframe_start=days[0], selected_timeframe_end=days[-1]
        )

    load(record(1, "j1"))
    second = record(2, "j2")
    code = (
        "import json, sys; from tests.helpers.loads import load; print('ready', flush=True); load(json.load(sys.stdin))"
    )
    killed = 0
    for delay in (0.0, 0.1, 0.3):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT, text=True
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            process.stdin.write(json.dumps(second))
            process.stdin.close()
            deadline = time.monotonic() + 30
            while not query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%%' AND state = 'active'"):
                assert time.monotonic() < deadline
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        assert query("SELECT count(*), min(contacts), max(contacts) FROM audience_trends") == [(620_000, 1, 1)]
    assert killed == 3
    load(second)
    assert query("SELECT count(*), min(contacts), max(contacts) FROM audience_trends") == [(620_000, 2, 2)]
