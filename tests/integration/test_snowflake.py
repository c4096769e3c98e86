"""Loading into Snowflake: the statements that are sent, stages, privileges, and other loads at the same time."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import InvalidExportError, TableError, TransientTableError
from airflow_provider_cordial.trends import Columns, LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables import Staging, build_table
from airflow_provider_cordial.trends.tables import snowflake as table_module
from airflow_provider_cordial.trends.tables.rows import write_parquet
from cordial_sandbox.process import SandboxProcess
from tests.helpers.errors import in_lines
from tests.helpers.loads import ODD, PLAIN, batch, deliver
from tests.helpers.loads import load as run_operator
from tests.helpers.sandbox import SetConnection
from tests.integration.servers.snowflake import Snowflake
from tests.integration.warehouses.killed import kill_at
from tests.integration.warehouses.snowflake import SnowflakeWarehouse

NO_PRIVILEGE = [3001, "42501", "SQL access control error: Insufficient privileges to operate on"]
WAITERS = [625, "57014", "Statement has locked table 'TRENDS', and this lock has not yet been released."]
READ = "SELECT audience, snapshot_date, contacts, job_id FROM trends ORDER BY 1, 2, 3"
OLD = [("a", "2026-11-10", 1, "j1"), ("a", "2026-11-11", 2, "j1")]
NEW = [("a", "2026-11-10", 3, "j2"), ("a", "2026-11-11", 2, "j2")]


@pytest.fixture
def server(snowflake: Snowflake, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch) -> Snowflake:
    """Snowflake behind the connection ``warehouse``, without a table."""
    set_connection("warehouse", **snowflake.airflow_connection())
    for name, value in snowflake.environment().items():
        monkeypatch.setenv(name, value)
    # The pause before a load is run again.
    monkeypatch.setattr("airflow_provider_cordial.trends.tables.generic.PAUSE", 0.01)
    snowflake.query("DROP TABLE IF EXISTS trends")
    snowflake.reset()
    return snowflake


def load(one: TrendsBatch, *, table: str = "trends", columns: Columns | None = None, **options: Any) -> LoadResult:
    result = build_table("warehouse", table, columns or Columns(), **{"create": True, **options}).load(one)
    assert isinstance(result, LoadResult)
    return result


def kinds(statements: list[str]) -> list[str]:
    """The first words of statements; a PUT is sent again for its address."""
    found = [re.sub(r"\s*(CREATE TEMPORARY \w+|\w+).*", r"\1", one, flags=re.DOTALL) for one in statements]
    return [one for n, one in enumerate(found) if one != "PUT" or found[n - 1] != "PUT"]


def in_transaction(statements: list[str]) -> list[str]:
    return statements[statements.index("BEGIN") + 1 : statements.index("COMMIT")]


def test_the_operator_loads_a_delivered_file(cordial: SandboxProcess, server: Snowflake) -> None:
    deliver(cordial, PLAIN)
    for new in (3, 0):
        counts = run_operator(table="trends")
        assert (counts["rows"], counts["new"]) == (4, new)
    assert [row[2] for row in server.query(READ)] == [3, None, 1, 2]
    assert server.parameters()["QUERY_TAG"].startswith("cordial:manual/load/")


def test_the_transaction_is_short(server: Snowflake) -> None:
    columns = Columns(scope={"account": "us"}, constants={"note": "x"})
    before = [
        *("USE", "CREATE", "SHOW", "SHOW"),
        *("CREATE TEMPORARY TABLE", "CREATE TEMPORARY STAGE", "PUT", "COPY", "CREATE TEMPORARY TABLE", "BEGIN"),
    ]
    for rows, job_id, writes in (
        ([1, 2], "j1", ["INSERT", "SELECT"]),
        ([1, 2], "j1", []),
        ([1, 3], "j1", ["INSERT", "DELETE", "INSERT", "SELECT"]),
        ([1, 3], "j2", ["DELETE", "INSERT", "SELECT"]),
    ):
        load(batch({"a": rows}, job_id=job_id), table="db1.marketing.trends", columns=columns)
        sent = server.statements()
        # Nothing in the transaction commits it, or waits for a file.
        assert kinds(sent) == [*before, "SELECT", *writes, "COMMIT", "SELECT"]
    (delete,) = (one for one in sent if one.startswith("DELETE"))
    assert "\"TRENDS\".\"SNAPSHOT_DATE\" BETWEEN '2026-11-10' AND '2026-11-11'" in delete
    assert '"TRENDS"."ACCOUNT" = \'us\'' in delete
    assert sent[0] == 'USE SCHEMA "DB1"."MARKETING"'


def test_names_are_those_without_quotes(server: Snowflake) -> None:
    columns = Columns(names={"audience": "Group", "contacts": "order"}, scope={"account": "us"})
    server.query(
        'CREATE TABLE Trends ("GROUP" VARCHAR, Snapshot_Date DATE, "ORDER" NUMBER, job_id VARCHAR, '
        "loaded_at TIMESTAMP_NTZ, Account VARCHAR)"
    )
    load(batch({"a": [1, 2]}), table="marketing.Trends", columns=columns, create=False)
    assert load(batch({"a": [1, 3]}), table="trends", columns=columns) == LoadResult(same=1, corrected=1)
    # fakesnow does not tell the case of a quoted name: only the columns of the file are in lower case.
    quoted = {name for one in server.statements() for name in re.findall(r'(?<!\$1:)"(\w+)"', one)}
    assert {"TRENDS", "GROUP", "ORDER", "ACCOUNT"} < quoted
    assert quoted == {name.upper() for name in quoted}


def test_texts_are_bound_unchanged(server: Snowflake) -> None:
    text = "it's 100%s \\ " + "".join(ODD)
    long = "c" * 255
    columns = Columns(scope={"account": text}, constants={long: text})
    for _ in range(2):
        load(batch({"a": [1, 2]}, job_id=text), columns=columns)
    assert load(batch({"a": [1, 3]}, job_id=text), columns=columns) == LoadResult(same=1, corrected=1)
    assert server.query(f"SELECT DISTINCT job_id, account, {long} FROM trends") == [(text, text, text)]


def test_a_table_of_other_types(server: Snowflake) -> None:
    server.query(
        "CREATE TABLE trends (id NUMBER, name VARCHAR(100), day VARCHAR, contacts NUMBER(10, 0), job_id VARCHAR(20), "
        "loaded_at TIMESTAMP_TZ, run NUMBER)"
    )
    columns = Columns(names={"audience": "name", "snapshot_date": "day"}, constants={"run": "7"})
    assert load(batch({"a": [1, None]}), columns=columns, create=False) == LoadResult(new=1, blank=1)
    result = load(batch({"a": [1, 5], "b": [2, 3]}), columns=columns, create=False)
    assert result == LoadResult(same=1, new=3)
    assert server.query("SELECT name, day, contacts, run FROM trends ORDER BY 1, 2") == [
        ("a", "2026-11-10", 1, 7),
        ("a", "2026-11-11", 5, 7),
        ("b", "2026-11-10", 2, 7),
        ("b", "2026-11-11", 3, 7),
    ]


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        pytest.param("^DELETE", "SELECT, INSERT, and DELETE on the table", id="delete"),
        pytest.param("^CREATE TABLE", "also needs CREATE TABLE on the schema", id="create"),
    ],
)
def test_a_missing_privilege_is_named(server: Snowflake, pattern: str, advice: str) -> None:
    load(batch({"a": [1, 2]}))
    server.rule(pattern, error=NO_PRIVILEGE)
    server.statements()
    with pytest.raises(TableError, match="Insufficient privileges") as refused:
        load(batch({"a": [3, 2]}, job_id="j2"))
    assert advice in refused.value.message
    assert not refused.value.retry_helps
    assert kinds(server.statements()).count("BEGIN") <= 1
    assert server.query(READ) == OLD


def test_the_stage_of_the_user_where_no_other_can_be_created(server: Snowflake) -> None:
    server.rule("^CREATE TEMPORARY STAGE", error=NO_PRIVILEGE, times=1000)
    load(batch({"a": [1, 2]}), staging=Staging(owner="dag é/load/0123456789ab"))
    folder = "@~/cordial/dag__/load/0123456789ab/"
    sent = server.statements()
    assert kinds(sent)[5:9] == ["REMOVE", "PUT", "COPY", "REMOVE"]
    assert [one for one in sent if one.startswith("REMOVE")] == [f"REMOVE {folder}"] * 2
    assert all(folder in one for one in sent if one.startswith(("PUT", "COPY")))
    assert server.query(READ) == OLD
    assert server.files() == []


def test_the_stage_of_the_user_is_cleaned_after_a_kill(server: Snowflake) -> None:
    warehouse = SnowflakeWarehouse(server)
    server.rule("^CREATE TEMPORARY STAGE", error=NO_PRIVILEGE, times=1000)
    left = 0
    # About the COPY.
    for step in range(9, 12):
        assert kill_at(warehouse, batch({"a": [1, 2]}), step)
        server.end_sessions()
        left += len(server.files())
    assert left
    load(batch({"a": [1, 2]}))
    assert server.files() == []


def test_a_copy_of_fewer_rows_is_refused(server: Snowflake, monkeypatch: pytest.MonkeyPatch) -> None:
    load(batch({"a": [1, 2]}))
    server.statements()
    # A copy of another file, and of none, is not an error.
    with monkeypatch.context() as patch:
        patch.setattr(table_module, "write_parquet", lambda path, _: write_parquet(path, batch({"a": [3, 2]})))
        with pytest.raises(TableError, match="would have 2 of 4 rows of the file"):
            load(batch({"a": [3, 2], "b": [1, 1]}, job_id="j2"))
    server.rule("^COPY", replace=[r"trends\.parquet", "other.parquet"])
    with pytest.raises(TableError, match="would have 0 of 2 rows of the file"):
        load(batch({"a": [3, 2]}, job_id="j2"))
    assert "BEGIN" not in kinds(server.statements())
    assert server.query(READ) == OLD


def test_rows_that_do_not_appear_are_refused(server: Snowflake) -> None:
    load(batch({"a": [1, 2]}))
    server.rule('^INSERT INTO "TRENDS"', replace=["$", " LIMIT 1"])
    with pytest.raises(TableError, match="(?s)would have 1 of 2 rows of the file.*policies for rows"):
        load(batch({"a": [3, 2]}, job_id="j2"))
    assert server.query(READ) == OLD


def test_a_lock_that_too_many_wait_for_is_waited_for(server: Snowflake) -> None:
    load(batch({"a": [1, 2]}))
    server.rule("^DELETE", error=WAITERS, times=2)
    assert load(batch({"a": [3, 2]}, job_id="j2")) == LoadResult(corrected=1, same=1)
    assert server.query(READ) == NEW
    server.rule("^DELETE", error=WAITERS, times=1000)
    with pytest.raises(TransientTableError, match=r"(?s)has locked table.*\sRetry the task"):
        load(batch({"a": [4, 5]}, job_id="j3"))
    assert server.query(READ) == NEW


@pytest.mark.parametrize(
    "other",
    [
        pytest.param("INSERT INTO trends VALUES ('a', '2026-11-10', 9, 'other', '2026-11-12')", id="inserts"),
        pytest.param("UPDATE trends SET contacts = 9 WHERE snapshot_date = '2026-11-11'", id="updates"),
    ],
)
def test_another_load_before_the_commit_is_seen(server: Snowflake, other: str) -> None:
    load(batch({"a": [1, 2]}))
    # Each statement sees what others committed before it.
    server.rule('^INSERT INTO "TRENDS"', first=other)
    server.statements()
    assert load(batch({"a": [3, 2]})) == LoadResult(corrected=1, same=1)
    assert kinds(server.statements()).count("ROLLBACK") == 1
    assert server.query(READ) == [("a", "2026-11-10", 3, "j1"), OLD[1]]


def test_another_load_until_the_commit_is_seen_after_it(server: Snowflake) -> None:
    load(batch({"a": [1, 2]}))
    inserts = "INSERT INTO trends SELECT 'a', '2026-11-10', 9, 'other', '2026-11-12'"
    server.rule(r"^SELECT COUNT\(\*\) FROM", first=inserts)
    load(batch({"a": [3, 2]}, job_id="j2"))
    assert server.query(READ) == NEW
    server.rule(r"^SELECT COUNT\(\*\) FROM", first=inserts, times=1000)
    with pytest.raises(TransientTableError, match=r"twice\.\sRetry the task: it ends with one row each"):
        load(batch({"a": [4, 2]}, job_id="j3"))
    server.reset()
    load(batch({"a": [3, 2]}, job_id="j2"))
    assert server.query(READ) == NEW


def test_a_number_that_is_there_twice_is_kept_once(server: Snowflake) -> None:
    load(batch({"a": [1, None], "b": [5, 6]}))
    server.query("INSERT INTO trends SELECT 'a', '2026-11-10', NULL, 'j9', '2027-01-01'")
    server.query("INSERT INTO trends SELECT 'a', '2026-11-11', 8, 'j9', '2027-01-01'")
    assert load(batch({"a": [None, 9], "b": [5, 6]})) == LoadResult(kept=1, corrected=1, same=2)
    b = [("b", "2026-11-10", 5, "j1"), ("b", "2026-11-11", 6, "j1")]
    assert server.query(READ) == [OLD[0], ("a", "2026-11-11", 9, "j1"), *b]
    assert kinds(server.statements()).count("BEGIN") == 2


def test_the_moment_has_a_zone(server: Snowflake) -> None:
    moment = datetime(2026, 11, 25, 10, tzinfo=timezone(timedelta(hours=2)))
    load(replace(batch({"a": [1, 2]}), loaded_at=moment))
    (insert,) = (one for one in server.statements() if one.startswith("INSERT"))
    assert "'2026-11-25T08:00:00.000000+00:00'" in insert
    assert server.query("SELECT DISTINCT loaded_at FROM trends") == [("2026-11-25 08:00:00",)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"staging": Staging(location="s3://bucket/x")}, "Invalid staging 's3://bucket/x': a load into Snowflake uses"),
        ({"table": "a.b.c.d"}, "Invalid table name 'a.b.c.d': expected table, schema.table, or database.schema.table"),
        ({"columns": Columns(scope={"Audience": "x"})}, "Duplicate column name 'audience': Snowflake ignores case"),
    ],
)
def test_invalid_settings_are_rejected_before_anything_is_sent(
    server: Snowflake, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidExportError) as refused:
        load(batch({"a": [1, 2]}), **options)
    assert refused.value.message.startswith(message)
    assert server.statements() == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("nowhere.trends", "Correct the database and the schema of the table|create_table=True creates"),
        ("trends", "Set the database and the schema of the connection"),
    ],
)
def test_a_missing_schema_is_named(server: Snowflake, set_connection: SetConnection, table: str, message: str) -> None:
    set_connection("warehouse", **{**server.airflow_connection(), "schema": ""})
    with pytest.raises(TableError, match=in_lines(message)) as failed:
        load(batch({"a": [1, 2]}), table=table)
    assert not failed.value.retry_helps


def test_a_wrong_password_is_not_retried(server: Snowflake, set_connection: SetConnection) -> None:
    set_connection("warehouse", **{**server.airflow_connection(), "password": "wrong-secret-123"})
    with pytest.raises(TableError, match="(?s)Incorrect username or password.*Correct the login") as failed:
        load(batch({"a": [1, 2]}))
    assert not failed.value.retry_helps


def test_secrets_are_in_no_log(server: Snowflake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    load(batch({"a": [1, 2]}))
    assert any("COPY INTO" in record.getMessage() for record in caplog.records)
    sent = "\n".join(server.statements())
    assert server.password not in caplog.text + sent


def test_the_query_tag_of_the_connection_comes_first(server: Snowflake, set_connection: SetConnection) -> None:
    parameters = {"query_tag": "marketing", "CLIENT_TELEMETRY_ENABLED": False, "autocommit": False}
    set_connection("warehouse", **server.airflow_connection(session_parameters=parameters))
    load(batch({"a": [1, 2]}))
    found = server.parameters()
    assert found["QUERY_TAG"] == "marketing"
    # A session without autocommit would keep a transaction open through the COPY.
    assert found["AUTOCOMMIT"] is True
    assert server.query(READ) == OLD
