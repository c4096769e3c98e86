"""Loading into the double of a Databricks SQL warehouse: the statements, the staged file, errors, other tables."""

from __future__ import annotations

import logging
import re
import traceback
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import (
    InvalidConnectionError,
    InvalidExportError,
    RefusedError,
    TableError,
    TransientTableError,
    UnsuitableTableError,
)
from airflow_provider_cordial.trends import Columns, LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables import Staging, build_table, generic
from airflow_provider_cordial.trends.tables import databricks as module
from airflow_provider_cordial.trends.tables.rows import write_parquet
from cordial_sandbox.process import SandboxProcess
from tests.helpers.errors import in_lines
from tests.helpers.loads import PLAIN, QUICK, TEN, batch, deliver, export
from tests.helpers.loads import load as run_operator
from tests.helpers.sandbox import SetConnection
from tests.integration.servers import free_port
from tests.integration.servers.databricks import HTTP_PATH, VOLUME, WAREHOUSE, Databricks

CREATED = "audience STRING, snapshot_date DATE, contacts BIGINT, job_id STRING, loaded_at TIMESTAMP"
CONFLICT = "[DELTA_CONCURRENT_DELETE_READ.WITHOUT_HINT] Transaction conflict detected. SQLSTATE: 2D521"
DENIED = "[PERMISSION_DENIED] User does not have MODIFY on Table 'main.default.trends'. SQLSTATE: 42501"

FILE = r"\w+\.parquet"


@pytest.fixture
def server(databricks: Databricks, set_connection: SetConnection) -> Databricks:
    """The double behind the connection ``warehouse``, without a table and without files."""
    set_connection("warehouse", **databricks.airflow_connection())
    for table in ("trends", "trends_corrections"):
        databricks.query(f"DROP TABLE IF EXISTS {table}")
    databricks.forget()
    assert databricks.staged() == []
    return databricks


def load(
    one: TrendsBatch,
    *,
    table: str = "trends",
    create: bool = True,
    columns: Columns | None = None,
    staging: Staging | None = None,
) -> LoadResult:
    place = staging or Staging(location=VOLUME, owner="dag/load/1")
    result = build_table("warehouse", table, columns or Columns(), create=create, staging=place).load(one)
    assert isinstance(result, LoadResult)
    return result


def contacts(server: Databricks, table: str = "trends") -> list[Any]:
    return [row[0] for row in server.query(f"SELECT contacts FROM {table} ORDER BY audience, snapshot_date")]


def test_the_operator_loads_a_delivered_file(cordial: SandboxProcess, server: Databricks) -> None:
    deliver(cordial, PLAIN)
    for new in (3, 0):
        counts = run_operator(table="trends", staging=VOLUME)
        assert (counts["rows"], counts["new"]) == (4, new)
    assert contacts(server) == [3, None, 1, 2]
    assert server.staged() == []
    # The second file says nothing new: the table has no new version.
    assert sum(one.startswith("INSERT") for one in server.statements()) == 1


def test_the_load_of_the_example_runs(
    cordial: SandboxProcess, server: Databricks, set_connection: SetConnection
) -> None:
    example = import_module("example_dags.example_azure_to_databricks").load
    server.query("CREATE DATABASE IF NOT EXISTS marketing")
    server.query("DROP TABLE IF EXISTS main.marketing.audience_trends")
    set_connection("databricks_default", **server.airflow_connection())
    deliver(cordial, PLAIN)
    # The sandbox's server in place of Azure: reading from there is tested with the destinations.
    example.export, example.file_wait = export(), QUICK
    assert example.execute({})["new"] == 3
    rows = server.query("SELECT audience, contacts, account FROM main.marketing.audience_trends WHERE contacts < 3")
    assert sorted(rows) == [("a", 1, "acme"), ("a", 2, "acme")]


def test_the_statements_of_a_load(server: Databricks) -> None:
    nine = TEN - timedelta(days=1)
    columns = Columns(names={"contacts": "size"}, scope={"account": "o'neil"}, constants={"run": "r\\1"})
    load(batch({"a": [1, 2], "b'": [3, 4]}, days=[nine, TEN + timedelta(days=1)]), columns=columns)
    session, create, names, listed, put, compare, insert, remove = server.statements()
    # A load time in a column without a time zone would otherwise be that of the session.
    assert '"TIMEZONE": "UTC"' in session
    assert create == (
        "CREATE TABLE IF NOT EXISTS `trends` (`audience` STRING NOT NULL, `snapshot_date` DATE NOT NULL, "
        "`size` BIGINT, `job_id` STRING NOT NULL, `loaded_at` TIMESTAMP NOT NULL, `account` STRING NOT NULL, "
        "`run` STRING NOT NULL)"
    )
    assert names == "SELECT * FROM `trends` LIMIT 0"
    assert listed == f"LIST '{VOLUME}/dag/load/1'"
    assert re.fullmatch(rf"PUT '/.*/trends.parquet' INTO '{VOLUME}/dag/load/1/{FILE}' OVERWRITE", put)
    assert compare.startswith("SELECT COUNT(")
    predicate = (
        "`account` = 'o\\'neil' AND (`snapshot_date` BETWEEN DATE'2026-11-09' AND DATE'2026-11-09' OR "
        "`snapshot_date` BETWEEN DATE'2026-11-11' AND DATE'2026-11-11') AND `audience` IN ('a', 'b\\'')"
    )
    assert insert.startswith(f"INSERT INTO `trends` REPLACE WHERE {predicate} SELECT audience, snapshot_date, ")
    assert "ELSE 'r\\\\1' END" in insert
    (staged,) = re.findall(rf"parquet\.`({VOLUME}/dag/load/1/{FILE})`", insert)
    assert remove == f"REMOVE '{staged}'"


def test_a_table_in_another_schema(server: Databricks) -> None:
    server.query("CREATE DATABASE IF NOT EXISTS marketing")
    server.query("DROP TABLE IF EXISTS marketing.trends")
    for table in ("main.marketing.trends", "marketing.trends"):
        load(batch({"a": [1, 2]}), table=table)
    assert any("INSERT INTO `main`.`marketing`.`trends` REPLACE" in one for one in server.statements())
    assert contacts(server, "marketing.trends") == [1, 2]


def test_a_warehouse_is_found_by_its_name(server: Databricks, set_connection: SetConnection, certificates: Any) -> None:
    fields = server.airflow_connection(http_path=None, sql_endpoint_name=WAREHOUSE)
    set_connection("warehouse", **fields)
    assert load(batch({"a": [1, 2]})) == LoadResult(new=2)
    set_connection("warehouse", **server.airflow_connection(http_path=None, sql_endpoint_name="other"))
    with pytest.raises(TableError, match="(?s)Can't find Databricks SQL warehouse.*Check the host"):
        load(batch({"a": [3, 4]}))
    assert contacts(server) == [1, 2]


@pytest.fixture
def certificates(server: Databricks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the REST client trust the double."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))


@pytest.mark.parametrize(
    ("staging", "message"),
    [
        (Staging(), r"needs staging: a volume for the file\. Set staging='/Volumes/catalog/schema/volume'"),
        (Staging(location="s3://bucket/x"), "Invalid staging 's3://bucket/x': expected a volume"),
        (Staging(location="/Volumes/main/default"), "Invalid staging '/Volumes/main/default'"),
        (Staging(location=f"{VOLUME}/../other"), "Invalid staging"),
        (Staging(location=f"{VOLUME}/it's"), "Invalid staging"),
        (Staging(location=f"{VOLUME}/`x`"), "Invalid staging"),
        (Staging(location=VOLUME, owner=".."), "Invalid staging"),
        (Staging(location=VOLUME, conn_id="aws"), "Invalid staging_conn_id 'aws': connection 'warehouse' itself"),
    ],
)
def test_invalid_staging_is_refused(server: Databricks, staging: Staging, message: str) -> None:
    with pytest.raises(InvalidExportError, match=in_lines(message)):
        load(batch({"a": [1, 2]}), staging=staging)
    assert server.statements() == []


def test_a_connection_without_a_warehouse_is_refused(server: Databricks, set_connection: SetConnection) -> None:
    set_connection("warehouse", **server.airflow_connection(http_path=None))
    with pytest.raises(
        InvalidConnectionError, match="(?s)'warehouse' names no SQL warehouse.*Set http_path"
    ) as refused:
        load(batch({"a": [1, 2]}))
    assert isinstance(refused.value, RefusedError)
    assert server.statements() == []


@pytest.mark.parametrize("table", ["a.b.c.d", "my-table", "t`"])
def test_an_invalid_name_is_refused(server: Databricks, table: str) -> None:
    with pytest.raises(InvalidExportError, match="Invalid table name"):
        load(batch({"a": [1, 2]}), table=table)
    assert server.statements() == []


@pytest.mark.parametrize("step", ["^CREATE", "^SELECT \\*", "^PUT", "^SELECT COUNT", "^INSERT"])
def test_a_missing_privilege_is_named(server: Databricks, step: str) -> None:
    load(batch({"a": [1, 2]}))
    server.fail(step, DENIED)
    with pytest.raises(TableError) as failed:
        load(batch({"a": [3, 4]}))
    assert type(failed.value) is TableError
    text = failed.value.message
    assert "Table 'trends' of connection 'warehouse' cannot be loaded" in text
    assert "MODIFY on Table 'main.default.trends'" in text
    for privilege in ("USE CATALOG", "USE SCHEMA", "SELECT", "MODIFY", "READ VOLUME", "WRITE VOLUME"):
        assert privilege in text.partition("Grant")[2]
    assert contacts(server) == [1, 2]
    assert server.staged() == []


def test_a_file_of_which_rows_are_missing_is_refused(server: Databricks, monkeypatch: pytest.MonkeyPatch) -> None:
    load(batch({"a": [1, 2]}))
    monkeypatch.setattr(module, "write_parquet", lambda path, _one: write_parquet(path, batch({"a": [3, 4]})))
    with pytest.raises(TableError, match="(?s)would have 2 of 4 rows of the file.*as before"):
        load(batch({"a": [3, 4], "b": [5, 6]}))
    assert contacts(server) == [1, 2]
    assert server.staged() == []
    assert sum(one.startswith("INSERT") for one in server.statements()) == 1


def test_a_conflict_is_compared_and_written_again(server: Databricks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generic, "PAUSE", 0)
    load(batch({"a": [1, 2]}))
    server.fail("^INSERT", CONFLICT, times=2)
    server.forget_statements()
    assert load(batch({"a": [1, 4]}), create=False) == LoadResult(same=1, corrected=1)
    kinds = [re.split(r"[ (]", one)[0] for one in server.statements()]
    assert kinds == ["--", "SELECT", "LIST", "PUT", *["SELECT", "INSERT"] * 3, "REMOVE"]
    assert contacts(server) == [1, 4]


def corrections(server: Databricks) -> list[tuple[Any, ...]]:
    return sorted(server.query("SELECT old_contacts, new_contacts FROM trends_corrections"))


def test_a_conflict_withdraws_the_corrections(server: Databricks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generic, "PAUSE", 0)
    load(batch({"a": [1, 2]}, corrections=True))
    server.fail("^INSERT INTO `trends` REPLACE|^DELETE", CONFLICT, times=2)
    server.forget_statements()
    changed = batch({"a": [1, 4]}, job_id="j2", corrections=True)
    assert load(changed, create=False) == LoadResult(same=1, corrected=1)
    kinds = [re.split(r"[ (]", one)[0] for one in server.statements()]
    again = ["SELECT", "INSERT", "INSERT"]
    assert kinds == ["--", "SELECT", "SELECT", "LIST", "PUT", *again, "DELETE", "DELETE", *again, "REMOVE"]
    assert corrections(server) == [(2, 4)]


def test_corrections_that_cannot_be_withdrawn_do_not_hide_the_error(
    server: Databricks, caplog: pytest.LogCaptureFixture
) -> None:
    load(batch({"a": [1, 2]}, corrections=True))
    server.fail("^INSERT INTO `trends` REPLACE|^DELETE", "[CHECK_VIOLATED] too large", times=2)
    changed = batch({"a": [1, 4]}, job_id="j2", corrections=True)
    with pytest.raises(TableError, match="CHECK_VIOLATED"):
        load(changed)
    assert "Cannot withdraw the corrections of job j2" in caplog.text
    # What the load that failed recorded, the next one does not record again.
    assert corrections(server) == [(2, 4)]
    load(changed)
    assert (contacts(server), corrections(server)) == ([1, 4], [(2, 4)])


def test_conflicts_without_end_are_temporary(server: Databricks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generic, "PAUSE", 0)
    load(batch({"a": [1, 2]}))
    server.fail("^INSERT", CONFLICT, times=1000)
    with pytest.raises(TransientTableError, match="(?s)DELTA_CONCURRENT_DELETE_READ.*Retry the task"):
        load(batch({"a": [3, 4]}))
    assert contacts(server) == [1, 2]
    assert server.staged() == []


@pytest.mark.parametrize(
    "message",
    [
        "io.delta.exceptions.ConcurrentAppendException: Files were added to the root of the table",
        "[DELTA_METADATA_CHANGED] The metadata of the Delta table has been changed. SQLSTATE: 2D521",
        "com.databricks.sql.transaction.tahoe.ConcurrentDeleteDeleteException: a file was deleted",
    ],
)
def test_conflicts_of_other_versions_are_recognized(
    server: Databricks, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generic, "PAUSE", 0)
    server.fail("^INSERT", message)
    assert load(batch({"a": [1, 2]})) == LoadResult(new=2)


def test_a_killed_try_leaves_its_file_until_the_next(server: Databricks) -> None:
    for owner in ("dag/load/1", "dag/load/2"):
        path = server.folder / VOLUME.lstrip("/") / owner / "0123.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"old")
    try:
        load(batch({"a": [1, 2]}))
        assert [Path(one).parts[-2:] for one in server.staged()] == [("2", "0123.parquet")]
    finally:
        path.unlink()


def test_a_file_that_cannot_be_removed_is_removed_later(server: Databricks, caplog: pytest.LogCaptureFixture) -> None:
    server.fail("^REMOVE", "[INTERNAL_ERROR] cannot remove. SQLSTATE: XX000")
    assert load(batch({"a": [1, 2]})) == LoadResult(new=2)
    assert "Cannot remove /Volumes" in caplog.text
    assert len(server.staged()) == 1
    load(batch({"a": [1, 2]}))
    assert server.staged() == []


@pytest.mark.parametrize(
    ("storage", "error", "message"),
    [
        ("403", TableError, "unsuccessful: 403.*Let Airflow's workers write to the storage"),
        ("unreachable", TransientTableError, "Retry the task"),
    ],
)
def test_signed_urls_are_in_no_error_and_no_log(
    server: Databricks, caplog: pytest.LogCaptureFixture, storage: str, error: type[TableError], message: str
) -> None:
    load(batch({"a": [1, 2]}))
    server.fail("^PUT", storage=storage)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(error, match=in_lines(message)) as failed,
    ):
        load(batch({"a": [3, 4]}))
    assert type(failed.value) is error
    # The connector connects this logger to no handler; pytest does.
    messages = [record.getMessage() for record in caplog.records if record.name != "databricks.sql.unsafe"]
    shown = "\n".join([*traceback.format_exception(failed.value), *messages])
    assert server.signature not in shown
    assert server.token not in shown
    assert contacts(server) == [1, 2]


def test_a_wrong_token_says_what_to_check(server: Databricks, set_connection: SetConnection) -> None:
    set_connection("warehouse", **{**server.airflow_connection(), "password": "wrong-secret-123"})
    with pytest.raises(TableError, match="Check the login in connection 'warehouse'") as failed:
        load(batch({"a": [1, 2]}))
    assert not failed.value.retry_helps
    assert "wrong-secret-123" not in failed.value.message


def test_an_unreachable_warehouse_is_temporary(server: Databricks, set_connection: SetConnection) -> None:
    set_connection("warehouse", **server.airflow_connection(_port=free_port()))
    with pytest.raises(TransientTableError, match="cannot be loaded"):
        load(batch({"a": [1, 2]}))


def test_an_unknown_http_path_is_an_error(server: Databricks, set_connection: SetConnection) -> None:
    set_connection("warehouse", **server.airflow_connection(http_path=f"{HTTP_PATH}-deleted"))
    with pytest.raises(TableError, match="Table 'trends' of connection 'warehouse' cannot be loaded") as failed:
        load(batch({"a": [1, 2]}))
    assert not failed.value.retry_helps


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMP_NTZ"])
def test_the_load_time_is_utc_and_stays_in_unchanged_rows(server: Databricks, kind: str) -> None:
    server.query(f"CREATE TABLE trends ({CREATED.replace('TIMESTAMP', kind)})")
    load(batch({"a": [1, 2]}))
    ((first,),) = server.query("SELECT DISTINCT loaded_at FROM trends")
    assert abs(datetime.now(UTC) - first.replace(tzinfo=UTC)) < timedelta(minutes=1)
    load(batch({"a": [1, 3], "b": [None, 5]}))
    rows = server.query("SELECT contacts, loaded_at FROM trends ORDER BY audience, snapshot_date")
    assert [row[0] for row in rows] == [1, 3, None, 5]
    assert rows[0][1] == first
    assert all(row[1] > first for row in rows[1:])


def test_a_table_of_somebody_else(server: Databricks) -> None:
    server.query(
        "CREATE TABLE trends (remark STRING, account STRING, Day STRING, who STRING, job_id STRING, size INT, "
        "loaded_at DATE)"
    )
    server.query(
        "INSERT INTO trends VALUES ('mine', 'eu', '2026-11-10', 'a', 'j0', 1, DATE'2026-11-01'), "
        "('other', 'us', '2026-11-10', 'a', 'j0', 9, DATE'2026-11-01')"
    )
    columns = Columns(names={"audience": "who", "snapshot_date": "day", "contacts": "size"}, scope={"account": "eu"})
    result = load(batch({"a": [None, 2], "b": [3, 4]}), create=False, columns=columns)
    assert result == LoadResult(kept=1, new=3)
    # A row that is kept also keeps the column that is not of the load.
    assert server.query("SELECT who, day, size, job_id, account, remark FROM trends ORDER BY 5, 1, 2") == [
        ("a", "2026-11-10", 1, "j0", "eu", "mine"),
        ("a", "2026-11-11", 2, "j1", "eu", None),
        ("b", "2026-11-10", 3, "j1", "eu", None),
        ("b", "2026-11-11", 4, "j1", "eu", None),
        ("a", "2026-11-10", 9, "j0", "us", "other"),
    ]


def test_a_missing_column_is_named_before_a_file_is_sent(server: Databricks) -> None:
    server.query(f"CREATE TABLE trends ({CREATED})")
    server.forget()
    with pytest.raises(UnsuitableTableError, match="Table 'trends' has no column 'account'; it has audience, "):
        load(batch({"a": [1, 2]}), columns=Columns(scope={"account": "us"}))
    assert not any(one.startswith("PUT") for one in server.statements())


def test_a_number_that_is_there_twice_survives_a_blank(server: Databricks) -> None:
    server.query(f"CREATE TABLE trends ({CREATED})")
    for number, job in ((1, "j1"), (2, "j2"), ("NULL", "j3")):
        at = f"TIMESTAMP'2026-11-1{job[1]} 00:00:00'"
        server.query(f"INSERT INTO trends VALUES ('a', DATE'{TEN}', {number}, '{job}', {at})")
    assert load(batch({"a": [None]}, days=[TEN], job_id="j4")) == LoadResult(kept=1)
    # The last number that was delivered.
    assert server.query("SELECT contacts, job_id FROM trends") == [(2, "j2")]


def test_names_that_statements_could_change(server: Databricks) -> None:
    names = ["${env:HOME}", "${x}", "$\\{", "?", ":name", "%s", "%(a)s", "{{ ds }}", "--", "/*", "\\'", "x" * 20_000]
    for _ in range(2):
        load(batch({name: [number, None] for number, name in enumerate(names)}))
        rows = server.query(f"SELECT audience, contacts FROM trends WHERE snapshot_date = DATE'{TEN}'")
        assert dict(rows) == {name: number for number, name in enumerate(names)}
    # Spark would put a variable in its place.
    assert not any("${" in one for one in server.statements())
