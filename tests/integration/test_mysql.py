"""Loading into a real MariaDB: names by their bytes, files and rows, locks and lost connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import TableError, TransientTableError, UnsuitableTableError
from airflow_provider_cordial.trends import Columns, LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables import build_table
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import PLAIN, batch, deliver
from tests.helpers.loads import load as run_operator
from tests.helpers.sandbox import SetConnection
from tests.integration.servers.mariadb import MariaDb

COLUMNS = "audience VARCHAR(100), snapshot_date DATE, contacts BIGINT, job_id VARCHAR(100), loaded_at {time}"
FOLDED = f"{COLUMNS.format(time='DATETIME')}, PRIMARY KEY (audience, snapshot_date)"

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def query(mariadb: MariaDb, set_connection: SetConnection) -> Query:
    """Query the database behind the connection ``warehouse``, which has no table."""
    set_connection("warehouse", **mariadb.airflow_connection())
    mariadb.query("DROP TABLE IF EXISTS trends")
    return mariadb.query


def load(one: TrendsBatch, *, table: str = "trends", create: bool = True, columns: Columns | None = None) -> LoadResult:
    result = build_table("warehouse", table, columns or Columns(), create=create).load(one)
    assert isinstance(result, LoadResult)
    return result


def test_the_operator_loads_a_delivered_file(cordial: SandboxProcess, query: Query) -> None:
    deliver(cordial, PLAIN)
    for new in (3, 0):
        counts = run_operator(table="trends")
        assert (counts["rows"], counts["new"]) == (4, new)
    assert query("SELECT contacts FROM trends ORDER BY audience, snapshot_date") == [(3,), (None,), (1,), (2,)]


def test_the_created_key_has_several_scopes(query: Query) -> None:
    columns = Columns(scope={"account": "us", "brand": "x", "region": "w"}, constants={"run": "1"})
    load(batch({"x" * 500: [1, 2]}), columns=columns)
    key = query(
        "SELECT column_name FROM information_schema.statistics WHERE table_name = 'trends' ORDER BY seq_in_index"
    )
    assert [name for (name,) in key] == ["audience", "snapshot_date", "account", "brand", "region"]


@pytest.mark.parametrize(("known", "came"), [("VIP", "vip"), ("Café", "Cafe"), ("a", "a ")])
def test_a_namesake_under_another_collation_is_not_deleted(query: Query, known: str, came: str) -> None:
    query(f"CREATE TABLE trends ({FOLDED})")
    assert load(batch({known: [1, 2]})) == LoadResult(new=2)
    with pytest.raises(UnsuitableTableError, match=f"Table 'trends' has rows of audience {known!r}"):
        load(batch({came: [8, 9]}))
    assert query("SELECT audience, contacts FROM trends ORDER BY contacts") == [(known, 1), (known, 2)]
    assert load(batch({known: [1, 3]})) == LoadResult(same=1, corrected=1)


def test_two_names_that_the_table_does_not_tell_apart_are_an_error(query: Query) -> None:
    query(f"CREATE TABLE trends ({FOLDED})")
    load(batch({"b": [1, 2]}))
    with pytest.raises(TableError, match="(?s)2 of 4 rows arrived.*binary collation"):
        load(batch({"VIP": [3, 4], "vip": [5, 6]}))
    assert query("SELECT audience FROM trends") == [("b",), ("b",)]


def test_rows_are_inserted_where_files_are_not_permitted(query: Query) -> None:
    query("SET GLOBAL local_infile = 0")
    try:
        assert load(batch({"a": [1, None], "b'\\": [3, 4]})) == LoadResult(new=3, blank=1)
        assert load(batch({"a": [1, 2], "b'\\": [3, None]}, job_id="j2")) == LoadResult(new=1, same=2, kept=1)
    finally:
        query("SET GLOBAL local_infile = 1")
    assert query("SELECT audience, contacts, job_id FROM trends ORDER BY 1, snapshot_date") == [
        ("a", 1, "j2"),
        ("a", 2, "j2"),
        ("b'\\", 3, "j2"),
        ("b'\\", 4, "j1"),
    ]


def test_a_value_that_does_not_fit_is_not_cut(query: Query) -> None:
    query("SET GLOBAL sql_mode = ''")
    query("SET GLOBAL local_infile = 0")
    try:
        query(f"CREATE TABLE trends ({FOLDED.replace('VARCHAR(100)', 'VARCHAR(3)', 1)})")
        with pytest.raises(TableError, match="Data too long for column 'audience'"):
            load(batch({"abcd": [1, 2]}))
        assert query("SELECT * FROM trends") == []
    finally:
        query("SET GLOBAL local_infile = 1")
        query("SET GLOBAL sql_mode = DEFAULT")


def test_a_table_without_transactions_is_refused(query: Query) -> None:
    query(f"CREATE TABLE trends ({COLUMNS.format(time='DATETIME')}) ENGINE=MyISAM")
    query("INSERT INTO trends VALUES ('a', '2026-11-10', 1, 'j0', now())")
    with pytest.raises(
        UnsuitableTableError, match="engine MyISAM, which has no transactions\\.\\sConvert it to InnoDB"
    ):
        load(batch({"a": [2, 3]}))
    assert query("SELECT contacts FROM trends") == [(1,)]


@pytest.mark.parametrize("kind", ["DATETIME", "TIMESTAMP"])
def test_the_load_time_is_utc(query: Query, kind: str) -> None:
    query("SET GLOBAL time_zone = '-08:00'")
    try:
        query(f"CREATE TABLE trends ({COLUMNS.format(time=kind)})")
        load(batch({"a": [1, 2]}))
        ((moment,),) = query(
            "SELECT DISTINCT UNIX_TIMESTAMP(CONVERT_TZ(loaded_at, %s, '-08:00')) FROM trends", "-08:00"
        )
        moment = datetime.fromtimestamp(float(moment), UTC)
        if kind == "DATETIME":
            moment -= timedelta(hours=8)
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    finally:
        query("SET GLOBAL time_zone = 'SYSTEM'")


def test_a_table_in_another_schema(query: Query, mariadb: MariaDb, set_connection: SetConnection) -> None:
    query("DROP DATABASE IF EXISTS marketing")
    query("CREATE DATABASE marketing")
    set_connection("warehouse", **{**mariadb.airflow_connection(), "schema": ""})
    load(batch({"a": [1, 2]}), table="marketing.trends")
    assert load(batch({"a": [1, 3]}), table="marketing.trends") == LoadResult(same=1, corrected=1)
    assert query("SELECT contacts FROM marketing.trends ORDER BY 1") == [(1,), (3,)]


def test_a_user_without_temporary_tables_loads_row_by_row(
    query: Query, mariadb: MariaDb, set_connection: SetConnection
) -> None:
    load(batch({"a": [1, 2]}))
    query("CREATE OR REPLACE USER limited IDENTIFIED BY 'limited-1234'")
    query(f"GRANT SELECT, INSERT, DELETE ON {mariadb.database}.* TO limited")
    set_connection("warehouse", **{**mariadb.airflow_connection(), "login": "limited", "password": "limited-1234"})
    assert load(batch({"a": [None, 3]}, job_id="j2"), create=False) == LoadResult(kept=1, corrected=1)
    assert query("SELECT contacts, job_id FROM trends ORDER BY 1") == [(1, "j1"), (3, "j2")]


def test_a_lock_that_is_not_granted_in_time_is_retried(query: Query, mariadb: MariaDb) -> None:
    load(batch({"a": [1, 2]}))
    query("SET GLOBAL innodb_lock_wait_timeout = 1")
    try:
        with closing(mariadb.connect()) as other, closing(other.cursor()) as cursor:
            cursor.execute("START TRANSACTION")
            cursor.execute("UPDATE trends SET contacts = 7 WHERE snapshot_date = '2026-11-10'")
            results: list[LoadResult] = []
            thread = threading.Thread(target=lambda: results.append(load(batch({"a": [5, 6]}), create=False)))
            thread.start()
            time.sleep(1.5)
            other.rollback()
            thread.join(30)
    finally:
        query("SET GLOBAL innodb_lock_wait_timeout = 50")
    assert results == [LoadResult(corrected=2)]
    assert query("SELECT contacts FROM trends ORDER BY 1") == [(5,), (6,)]


def test_a_lost_connection_is_temporary(query: Query, mariadb: MariaDb) -> None:
    load(batch({"a": [1, 2]}))
    with closing(mariadb.connect()) as other, closing(other.cursor()) as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("UPDATE trends SET contacts = 7 WHERE snapshot_date = '2026-11-10'")
        errors: list[TableError] = []

        def run() -> None:
            try:
                load(batch({"a": [5, 6]}), create=False)
            except TableError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + 20
        while not (found := query("SELECT id FROM information_schema.processlist WHERE info LIKE 'DELETE old%'")):
            assert time.monotonic() < deadline
        query(f"KILL {found[0][0]}")
        thread.join(30)
        other.rollback()
    assert [type(error) for error in errors] == [TransientTableError]
    assert errors[0].retry_helps
    assert mariadb.password not in str(errors[0])
    assert query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]
