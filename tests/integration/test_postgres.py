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
from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_provider_cordial.destinations import FileWait
from airflow_provider_cordial.exceptions import TableError, TransientTableError, UnsuitableTableError
from airflow_provider_cordial.trends import Columns, ForeignTrendsError
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import ODD, deliver, export, load
from tests.helpers.sandbox import SetConnection, sftp_connection
from tests.integration.servers.postgres import Postgres
from tests.integration.servers.trouble import slow_proxy

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
        ("b", date(2026, 11, 11), 4, "j1"),
    ]
    assert [row[4] == before[4] for row, before in zip(now, first, strict=True)] == [True, False, True, True]
    deliver(cordial, "audience,2026-11-10\na,1\n")
    load(export(audiences=["a", "b"], job_id="j2"), on_missing="ignore")
    # What did not come is still there.
    assert [row[:4] for row in query(where)] == [("a", date(2026, 11, 10), 1, "j2"), *(row[:4] for row in now[1:])]


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
        "PRIMARY KEY (audience, snapshot_date) DEFERRABLE INITIALLY DEFERRED",
        id="deferrable-key",
    ),
    pytest.param(
        "audience TEXT, snapshot_date DATE, contacts BIGINT, job_id TEXT, loaded_at TIMESTAMP); "
        "CREATE UNIQUE INDEX ON audience_trends (md5(audience), snapshot_date) INCLUDE (contacts",
        id="index-on-an-expression",
    ),
    pytest.param(
        "audience TEXT, snapshot_date DATE, contacts BIGINT, job_id TEXT, loaded_at TIMESTAMP, "
        "UNIQUE (audience, snapshot_date)) PARTITION BY RANGE (snapshot_date); CREATE TABLE november PARTITION OF "
        "audience_trends FOR VALUES FROM ('2026-11-01') TO ('2026-12-01'",
        id="partitions",
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


@pytest.mark.parametrize("kind", ["TEXT", "VARCHAR(10)", "CHAR(10)", "TIMESTAMP"])
def test_a_day_can_have_another_type(cordial: SandboxProcess, query: Query, kind: str) -> None:
    query(
        f"CREATE TABLE audience_trends (audience TEXT, snapshot_date {kind}, contacts BIGINT, job_id TEXT, "
        "loaded_at TIMESTAMP, PRIMARY KEY (audience, snapshot_date))"
    )
    for contacts, job_id in ((1, "j1"), (1, "j1"), (2, "j2")):
        deliver(cordial, f"audience,2026-11-10,2026-11-11\na,{contacts},\n")
        load(export(audiences=["a"], job_id=job_id), create_table=False)
        assert query("SELECT left(snapshot_date::text, 10), contacts, job_id FROM audience_trends ORDER BY 1") == [
            ("2026-11-10", contacts, job_id),
            ("2026-11-11", None, job_id),
        ]


def test_a_constant_can_be_a_number(cordial: SandboxProcess, query: Query) -> None:
    query(
        "CREATE TABLE audience_trends (audience TEXT, snapshot_date DATE, contacts BIGINT, job_id TEXT, loaded_at "
        "TIMESTAMPTZ, brand INTEGER, run INTEGER, PRIMARY KEY (brand, audience, snapshot_date))"
    )
    for run in ("1", "1", "2"):
        deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
        columns = Columns(scope={"brand": "7"}, constants={"run": run})
        load(export(audiences=["a"]), create_table=False, columns=columns)
        assert query("SELECT contacts, brand, run FROM audience_trends ORDER BY 1") == [
            (1, 7, int(run)),
            (2, 7, int(run)),
        ]


_BASE = (
    "audience TEXT, snapshot_date DATE, contacts BIGINT, job_id TEXT, loaded_at TIMESTAMP, account TEXT DEFAULT 'us'"
)


def test_a_view_is_loaded(cordial: SandboxProcess, query: Query) -> None:
    query(f"CREATE TABLE base ({_BASE}, PRIMARY KEY (account, audience, snapshot_date))")
    query(
        "CREATE VIEW audience_trends AS SELECT audience, snapshot_date, contacts, job_id, loaded_at FROM base "
        "WHERE account = 'us'"
    )
    query("INSERT INTO base VALUES ('a', '2026-11-10', 99, 'j0', now(), 'eu')")
    for contacts, job_id in ((1, "j1"), (2, "j2")):
        deliver(cordial, f"audience,2026-11-10,2026-11-11\na,{contacts},\n")
        load(export(audiences=["a"], job_id=job_id), create_table=False)
        assert query("SELECT account, contacts, job_id FROM base ORDER BY 1, snapshot_date") == [
            ("eu", 99, "j0"),
            ("us", contacts, job_id),
            ("us", None, job_id),
        ]


def test_a_view_that_cannot_be_written_is_a_clear_error(cordial: SandboxProcess, query: Query) -> None:
    query(f"CREATE TABLE base ({_BASE})")
    query("INSERT INTO base VALUES ('a', '2026-11-10', 1, 'j0', now())")
    query("CREATE VIEW audience_trends AS SELECT DISTINCT * FROM base")
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,2,3\n")
    with pytest.raises(TableError, match="cannot delete from view"):
        load(export(audiences=["a"]), create_table=False)
    assert query("SELECT contacts FROM base") == [(1,)]


@pytest.fixture
def limited(query: Query, postgres: Postgres, set_connection: SetConnection) -> Query:
    """The connection of a user who is subject to policies for rows, on a table with rows of two accounts."""
    query(f"CREATE TABLE audience_trends ({_BASE}, PRIMARY KEY (account, audience, snapshot_date))")
    query("INSERT INTO audience_trends VALUES ('a', '2026-11-10', 98, 'j0', now(), 'eu')")
    query("INSERT INTO audience_trends VALUES ('a', '2026-11-10', 1, 'j0', now(), 'us')")
    query("ALTER TABLE audience_trends ENABLE ROW LEVEL SECURITY")
    query("DROP ROLE IF EXISTS limited")
    query("CREATE ROLE limited LOGIN PASSWORD 'limited-1234'")
    query("GRANT USAGE ON SCHEMA public TO limited")
    query("GRANT ALL ON audience_trends TO limited")
    set_connection("warehouse", **{**postgres.airflow_connection(), "login": "limited", "password": "limited-1234"})
    return query


US = Columns(scope={"account": "us"})


def test_policies_for_rows_are_respected(cordial: SandboxProcess, limited: Query) -> None:
    limited("CREATE POLICY mine ON audience_trends TO limited USING (account = 'us')")
    for contacts, job_id in ((5, "j1"), (6, "j2")):
        deliver(cordial, f"audience,2026-11-10,2026-11-11\na,{contacts},\n")
        load(export(audiences=["a"], job_id=job_id), create_table=False, columns=US)
        assert limited("SELECT account, contacts FROM audience_trends ORDER BY 1, 2") == [
            ("eu", 98),
            ("us", contacts),
            ("us", None),
        ]


def test_a_policy_that_permits_no_delete_is_a_clear_error(cordial: SandboxProcess, limited: Query) -> None:
    limited("CREATE POLICY readable ON audience_trends FOR SELECT TO limited USING (true)")
    limited("CREATE POLICY writable ON audience_trends FOR INSERT TO limited WITH CHECK (true)")
    before = limited("SELECT * FROM audience_trends ORDER BY account")
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,5,6\n")
    with pytest.raises(TableError, match="(?s)Table 'audience_trends' .*rows of the table are as before"):
        load(export(audiences=["a"]), create_table=False, columns=US)
    assert limited("SELECT * FROM audience_trends ORDER BY account") == before


def test_a_user_without_temporary_tables_loads_row_by_row(
    cordial: SandboxProcess, query: Query, postgres: Postgres
) -> None:
    query("DROP ROLE IF EXISTS limited")
    query("CREATE ROLE limited LOGIN PASSWORD 'limited-1234'")
    query(f"REVOKE TEMP ON DATABASE {postgres.database} FROM PUBLIC")
    query("GRANT ALL ON SCHEMA public TO limited")
    fields = {**postgres.airflow_connection(), "login": "limited", "password": "limited-1234"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
        for sizes, expected in (("1,2", {"new": 2}), ("3,", {"corrected": 1, "kept": 1})):
            deliver(cordial, f"audience,2026-11-10,2026-11-11\na,{sizes}\n")
            assert expected.items() <= load(export(audiences=["a"], job_id=sizes)).items()
    query(f"GRANT TEMP ON DATABASE {postgres.database} TO PUBLIC")
    assert query("SELECT contacts, job_id FROM audience_trends ORDER BY snapshot_date") == [(3, "3,"), (2, "1,2")]


def test_an_index_that_ignores_case_rejects_a_namesake(cordial: SandboxProcess, query: Query) -> None:
    query(f"CREATE TABLE audience_trends ({_BASE})")
    query("CREATE UNIQUE INDEX ON audience_trends (lower(audience), snapshot_date)")
    query("INSERT INTO audience_trends VALUES ('VIP', '2026-11-10', 1, 'j0', now())")
    deliver(cordial, "audience,2026-11-10,2026-11-11\nvip,2,3\n")
    with pytest.raises(TableError, match="(?s)Table 'audience_trends' .*duplicate key value") as failed:
        load(export(audiences=["vip"]), create_table=False)
    assert not isinstance(failed.value, TransientTableError)
    assert query("SELECT audience, contacts FROM audience_trends") == [("VIP", 1)]


def test_an_index_on_an_expression_of_another_column_is_refused(cordial: SandboxProcess, query: Query) -> None:
    query(f"CREATE TABLE audience_trends ({_BASE})")
    query("CREATE UNIQUE INDEX ON audience_trends (audience, snapshot_date, (coalesce(account, '')))")
    query("INSERT INTO audience_trends VALUES ('a', '2026-11-10', 1, 'j0', now(), 'eu')")
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,2,3\n")
    with pytest.raises(UnsuitableTableError, match="replace the rows of every account"):
        load(export(audiences=["a"]), create_table=False)
    assert query("SELECT contacts FROM audience_trends") == [(1,)]
    load(export(audiences=["a"]), create_table=False, columns=US)
    assert query("SELECT contacts FROM audience_trends ORDER BY 1") == [(1,), (2,), (3,)]


def test_a_driver_that_commits_by_itself_loses_no_row(
    cordial: SandboxProcess, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = PostgresHook.get_conn

    def committing(hook: PostgresHook) -> Any:
        connection: Any = connect(hook)
        connection.autocommit = True
        return connection

    monkeypatch.setattr(PostgresHook, "get_conn", committing)
    query(f"CREATE TABLE audience_trends ({_BASE}, CHECK (contacts < 100))")
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
    load(export(audiences=["a"]), create_table=False)
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,3,100\n")
    with pytest.raises(TableError, match="violates check constraint"):
        load(export(audiences=["a"]), create_table=False)
    assert query("SELECT contacts FROM audience_trends ORDER BY 1") == [(1,), (2,)]


def test_a_lost_connection_is_temporary(cordial: SandboxProcess, query: Query) -> None:
    query(f"CREATE TABLE audience_trends ({_BASE})")
    query(
        "CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
    )
    query("CREATE TRIGGER leave BEFORE INSERT ON audience_trends EXECUTE FUNCTION leave()")
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
    with pytest.raises(TransientTableError, match="Retry the task"):
        load(export(audiences=["a"]), create_table=False)
    assert query("SELECT * FROM audience_trends") == []


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
    with pytest.raises(ForeignTrendsError):
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


def test_a_slow_server_does_not_hold_up_another_load(
    cordial: SandboxProcess, query: Query, set_connection: SetConnection
) -> None:
    days = [f"2026-10-{day:02}" for day in range(1, 32)]
    audiences = [f"audience {n}" for n in range(2000)]
    lines = ["audience," + ",".join(days), *(name + ",12345" * 31 for name in audiences)]
    deliver(cordial, "\n".join(lines), "slow.csv")
    deliver(cordial, "audience,2026-10-01\naudience 1,6\n", "quick.csv")
    days_of = {"selected_timeframe_start": days[0], "selected_timeframe_end": days[-1]}
    slow = export(
        name="slow",
        audiences=audiences,
        destination={"type": "sftp", "conn_id": "slow_sftp", "path": "exports"},
        **days_of,
    )
    quick = export(
        name="quick", audiences=["audience 1"], job_id="j2", **{**days_of, "selected_timeframe_end": days[0]}
    )
    load(quick)
    # Compressed, the file would be short.
    fields = sftp_connection(cordial)
    fields["extra"] = {**fields["extra"], "compress": "false"}
    patient = FileWait(timeout=60, poll_interval=0.05, stable_for=0.05, incomplete_for=0.3, read_timeout=60)
    with slow_proxy(cordial.sftp.port, bytes_per_second=50_000) as port:
        set_connection("slow_sftp", **{**fields, "port": port})
        results: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: results.append(load(slow, file_wait=patient)))
        started = time.monotonic()
        thread.start()
        for _ in range(5):
            time.sleep(0.5)
            load(quick)
        # The file has 400 kB.
        assert thread.is_alive()
        assert time.monotonic() - started < 8
        thread.join(60)
    assert [result["rows"] for result in results] == [2000 * 31]
    assert query("SELECT contacts FROM audience_trends WHERE audience = 'audience 1' LIMIT 1") == [(12345,)]


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
