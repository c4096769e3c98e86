"""Loading into Redshift's double: what is sent, and in which order; keys, privileges, conflicts, and the bucket."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import (
    InvalidExportError,
    TableError,
    TransientTableError,
    UnsuitableTableError,
)
from airflow_provider_cordial.trends import Columns, LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables import Staging, build_table
from airflow_provider_cordial.trends.tables.rows import write_parquet
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import ODD, PLAIN, TEN, batch, deliver
from tests.helpers.loads import load as run_operator
from tests.helpers.operators import run_context
from tests.helpers.sandbox import SetConnection
from tests.integration.servers.redshift import Redshift, RefusedError

ROLE = "arn:aws:iam::123456789012:role/redshift-copy"
TOKEN = "FwoGZXIvYXdzEBYaDtoken/of+the+session=="
PREFIX = "staging/redshift"
COLUMNS = "audience VARCHAR(100), snapshot_date DATE, contacts BIGINT, job_id VARCHAR(100), loaded_at {time}"


@pytest.fixture
def server(redshift: Redshift, set_connection: SetConnection) -> Iterator[Redshift]:
    """The double behind the connection ``warehouse``, without a table, and with an AWS connection to its bucket."""
    set_connection("warehouse", **redshift.airflow_connection())
    set_connection("aws_default", **redshift.bucket.connection())
    redshift.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO public")
    redshift.statements.clear()
    yield redshift
    assert keys(redshift) == []


def keys(server: Redshift, prefix: str = PREFIX) -> list[str]:
    found = server.bucket.client().list_objects_v2(Bucket=server.bucket.name, Prefix=prefix)
    return [item["Key"] for item in found.get("Contents", ())]


def load(
    server: Redshift,
    one: TrendsBatch,
    *,
    table: str = "trends",
    create: bool = True,
    columns: Columns | None = None,
    **staging: Any,
) -> LoadResult:
    place = Staging(**{"location": f"s3://{server.bucket.name}/{PREFIX}", **staging})
    result = build_table("warehouse", table, columns or Columns(), create=create, staging=place).load(one)
    assert isinstance(result, LoadResult)
    return result


def limited_user(server: Redshift, set_connection: SetConnection, *grants: str) -> None:
    """Connect as a user with these grants only."""
    server.query(
        "DO $$ BEGIN CREATE USER limited PASSWORD 'limited-1234'; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    # The double copies from a file of the server.
    server.query("GRANT pg_read_server_files TO limited")
    server.query("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM limited; " + "; ".join(grants))
    set_connection("warehouse", **{**server.airflow_connection(), "login": "limited", "password": "limited-1234"})


def test_the_operator_loads_a_delivered_file(cordial: SandboxProcess, server: Redshift) -> None:
    deliver(cordial, PLAIN)
    staging = f"s3://{server.bucket.name}/{PREFIX}/"
    for new in (3, 0):
        counts = run_operator(table="trends", staging=staging, context=run_context(task_id="load"))
        assert (counts["rows"], counts["new"]) == (4, new)
    assert server.query("SELECT contacts FROM trends ORDER BY audience, snapshot_date") == [(3,), (None,), (1,), (2,)]
    (first, _) = (one for one in server.statements if one.startswith("COPY"))
    folder = rf"{re.escape(staging)}Der_tägliche\.DAG/load/[0-9a-f]{{12}}/[0-9a-f-]{{36}}\.parquet"
    assert re.match(f"COPY cordial_staged FROM '{folder}' CREDENTIALS 'aws_access_key_id=", first)


def test_the_table_is_locked_first_and_only_briefly(server: Redshift) -> None:
    load(server, batch({"a": [1, 2], "b": [3, 4]}), columns=Columns(scope={"account": "us"}))
    server.statements.clear()
    load(server, batch({"a": [5, 2], "b": [3, 4]}), columns=Columns(scope={"account": "us"}))
    verbs = [" ".join(one.split()[:2]) for one in server.statements]
    first, second = verbs[: verbs.index("LOCK TABLE")], verbs[verbs.index("LOCK TABLE") :]
    # The driver prepares "begin transaction" once, so it is asked for again without its text.
    assert first == [
        "begin transaction",
        "SET timezone",
        "CREATE TABLE",
        "SELECT parts.constraint_name,",
        "CREATE TEMP",
        "COMMIT",
        "begin transaction",
        "COPY cordial_staged",
        "SELECT COUNT(*)",
        "CREATE TEMP",
        "commit",
    ]
    assert second == [
        "LOCK TABLE",
        "SELECT COUNT(CASE",
        "INSERT INTO",
        "DELETE FROM",
        "INSERT INTO",
        "SELECT COUNT(*),",
    ]
    delete = next(one for one in server.statements if one.startswith("DELETE"))
    assert delete == (
        'DELETE FROM "trends" USING cordial_changed WHERE "trends"."audience" = cordial_changed."audience" AND '
        '"trends"."snapshot_date" = cordial_changed."snapshot_date" AND "trends"."snapshot_date" BETWEEN '
        "'2026-11-10' AND '2026-11-11' AND \"trends\".\"account\" = $1"
    )
    assert not any("REGION" in one for one in server.statements)


def test_rows_are_inserted_without_a_bucket(server: Redshift, set_connection: SetConnection) -> None:
    set_connection("aws_default", conn_type="aws", extra={"endpoint_url": "http://127.0.0.1:9"})
    names = [*ODD, " spaced ", "null", "", "two\r\nlines", *(f"audience {n}" for n in range(400))]
    days = [TEN + timedelta(days=n) for n in range(31)]
    rows: dict[str, list[int | None]] = {name: [None, 3_000_000_000 + n, *range(29)] for n, name in enumerate(names)}
    one = batch(rows, days=days)
    assert load(server, one, location=None) == LoadResult(new=30 * len(names), blank=len(names))
    assert load(server, one, location=None) == LoadResult(same=30 * len(names), blank=len(names))
    found = server.query("SELECT audience, contacts FROM trends WHERE snapshot_date = '2026-11-11'")
    assert dict(found) == {name: 3_000_000_000 + n for n, name in enumerate(names)}
    assert server.query("SELECT COUNT(*) FROM trends WHERE contacts IS NULL") == [(len(names),)]
    inserts = [one.count("(") for one in server.statements if one.startswith("INSERT INTO cordial_staged")]
    assert max(inserts) == 5001
    # Those of the first load are three shapes: full, the rest, and the blanks.
    assert len(set(inserts)) == 3


@pytest.mark.parametrize("location", ["", "acme-cordial", "s3://", "s3://Upper/x", "gs://acme/x", "s3://acme/it's"])
def test_a_location_outside_of_s3_is_refused(server: Redshift, location: str) -> None:
    with pytest.raises(InvalidExportError, match=f"^Invalid staging {location!r}: expected s3://bucket/prefix"):
        load(server, batch({"a": [1, 2]}), location=location)
    assert server.statements == []


def test_a_table_of_another_database_is_refused(server: Redshift) -> None:
    with pytest.raises(InvalidExportError, match=r"(?s)^Invalid table name 'dev.public.trends'.*its own database"):
        load(server, batch({"a": [1, 2]}), table="dev.public.trends")
    assert server.statements == []


def test_the_keys_are_in_no_log(server: Redshift, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.INFO)
    load(server, batch({"a": [1, 2]}))
    assert any(server.bucket.secret_key in one for one in server.statements)
    assert "Connection.execute()" in caplog.text
    assert server.bucket.secret_key not in caplog.text


def test_the_keys_are_in_no_error(server: Redshift, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.credentials import ReadOnlyCredentials

    load(server, batch({"a": [1, 2]}))
    secret = "wrong/secret+key/of+forty/characters/1234"
    credentials = ReadOnlyCredentials("ASIATEMPORARY1234567", secret, TOKEN)
    monkeypatch.setattr(S3Hook, "get_credentials", lambda *_: credentials)
    with pytest.raises(TableError, match="(?s)Redshift does not copy s3://.*s3:GetObject and s3:ListBucket") as failed:
        load(server, batch({"a": [3, 4]}))
    (copy,) = (one for one in server.statements if TOKEN in one)
    assert f"aws_secret_access_key={secret};token={TOKEN}'" in copy
    shown = "".join(traceback.format_exception(failed.value))
    assert "Status 403" in shown
    # The double repeats the statement.
    assert "CREDENTIALS 'aws_access_key_id=***;aws_secret_access_key=***;token=***'" in shown
    for one in (secret, TOKEN, "ASIATEMPORARY1234567", server.postgres.password):
        assert one not in shown
    assert server.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]


def test_a_role_takes_the_place_of_keys(
    server: Redshift, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.amazon.aws.hooks.base_aws import BaseSessionFactory

    # The worker's own session stays that of the keys: not every server of the tests lets it assume a role.
    monkeypatch.setattr(BaseSessionFactory, "create_session", lambda self, **_: self.basic_session)
    fields = server.bucket.connection()
    set_connection("aws_copy", **{**fields, "extra": {**fields["extra"], "role_arn": ROLE}})
    load(server, batch({"a": [1, 2]}), conn_id="aws_copy")
    (copy,) = (one for one in server.statements if one.startswith("COPY"))
    assert copy.endswith(f" IAM_ROLE '{ROLE}' FORMAT AS PARQUET")
    assert server.bucket.secret_key not in copy


@pytest.mark.parametrize(
    ("login", "message"),
    [("getter", "s3:ListBucket and s3:DeleteObject on it"), ("nobody", "InvalidAccessKeyId")],
)
def test_a_bucket_without_access_is_an_error(
    server: Redshift, set_connection: SetConnection, login: str, message: str
) -> None:
    load(server, batch({"a": [1, 2]}))
    access, secret = server.bucket.getter if login == "getter" else ("AKIANOBODY1234567890", "nobody's secret")
    set_connection("aws_default", **{**server.bucket.connection(), "login": access, "password": secret})
    with pytest.raises(TableError, match=rf"(?s)no access to s3://.*{message}|{message}") as failed:
        load(server, batch({"a": [3, 4]}))
    assert not failed.value.retry_helps
    assert "The rows of the table are as before" in failed.value.message
    assert secret not in failed.value.message
    assert server.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]


def test_a_bucket_that_does_not_answer_is_temporary(server: Redshift, set_connection: SetConnection) -> None:
    fields = server.bucket.connection("http://127.0.0.1:9")
    extra = {**fields["extra"], "config_kwargs": {"retries": {"total_max_attempts": 1}}}
    set_connection("aws_default", **{**fields, "extra": extra})
    with pytest.raises(TransientTableError, match="(?s)no access to s3://.*Could not connect"):
        load(server, batch({"a": [1, 2]}))


def test_files_of_earlier_tries_are_removed(server: Redshift) -> None:
    client, bucket = server.bucket.client(), server.bucket.name
    for owner in ("dag/load/1", "dag/load/2"):
        client.put_object(Bucket=bucket, Key=f"{PREFIX}/{owner}/left.parquet", Body=b"x")
    load(server, batch({"a": [1, 2]}), owner="dag/load/1")
    assert keys(server) == [f"{PREFIX}/dag/load/2/left.parquet"]
    load(server, batch({"a": [1, 2]}), owner="dag/load/2")


def test_files_are_removed_when_a_copy_fails(server: Redshift) -> None:
    server.fail_once("COPY", RefusedError("Load into table failed. Check 'sys_load_error_detail' for details."))
    with pytest.raises(TableError, match="sys_load_error_detail"):
        load(server, batch({"a": [1, 2]}))
    assert keys(server) == []


@pytest.mark.parametrize("grants", ["SELECT", "SELECT, INSERT"])
def test_a_missing_privilege_is_named(server: Redshift, set_connection: SetConnection, grants: str) -> None:
    load(server, batch({"a": [1, 2]}))
    limited_user(server, set_connection, f"GRANT {grants} ON trends TO limited")
    with pytest.raises(TableError, match="permission denied for table trends") as failed:
        load(server, batch({"a": [3, 4]}), create=False)
    assert "Grant the user of connection 'warehouse' SELECT, INSERT, and DELETE on the table" in failed.value.message
    assert "LOCK" in server.statements[-2] or "LOCK" in server.statements[-1]
    assert not failed.value.retry_helps
    limited_user(server, set_connection, "GRANT SELECT, INSERT, DELETE ON trends TO limited")
    assert load(server, batch({"a": [3, 4]}), create=False) == LoadResult(corrected=2)


@pytest.mark.parametrize("statement", ["LOCK", "DELETE", "COPY", "commit"])
def test_a_conflict_is_retried(server: Redshift, statement: str) -> None:
    load(server, batch({"a": [1, 2]}))
    detail = "Serializable isolation violation on table - 119371, transactions forming the cycle are: 1, 2 (pid:1)"
    server.fail_once(statement, RefusedError("1023", detail=detail))
    assert load(server, batch({"a": [3, 4]})) == LoadResult(corrected=2)
    assert server.query("SELECT contacts FROM trends ORDER BY 1") == [(3,), (4,)]


def test_a_conflict_that_persists_is_temporary(server: Redshift, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_cordial.trends.tables.generic.PAUSE", 0)
    load(server, batch({"a": [1, 2]}))
    for _ in range(5):
        server.fail_once("LOCK", RefusedError("could not complete because of conflict with concurrent transaction"))
    with pytest.raises(TransientTableError, match="conflict with concurrent transaction\\.\\sRetry the task"):
        load(server, batch({"a": [3, 4]}))


@pytest.mark.parametrize("statement", ["SET", "COPY", "LOCK", "DELETE"])
def test_a_lost_connection_is_temporary(server: Redshift, statement: str) -> None:
    load(server, batch({"a": [1, 2]}))
    server.fail_once(statement, ConnectionError())
    with pytest.raises(TransientTableError, match="Retry the task") as failed:
        load(server, batch({"a": [3, 4]}))
    assert server.postgres.password not in failed.value.message
    assert server.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]


def test_rows_that_were_not_copied_are_an_error(server: Redshift, monkeypatch: pytest.MonkeyPatch) -> None:
    load(server, batch({"a": [1, 2]}))

    def write_less(path: Path, one: TrendsBatch) -> None:
        write_parquet(path, batch({"a": [3, 4]}))

    monkeypatch.setattr("airflow_provider_cordial.trends.tables.redshift.write_parquet", write_less)
    with pytest.raises(TableError, match="would have 2 of 4 rows of the file"):
        load(server, batch({"a": [3, 4], "b": [5, 6]}))
    assert server.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]


def test_rows_that_were_not_inserted_are_an_error(server: Redshift) -> None:
    load(server, batch({"a": [1, 2]}))
    server.query(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF new.contacts = 5 THEN RETURN NULL; END IF; RETURN new; END $$; "
        "CREATE TRIGGER lose BEFORE INSERT ON trends FOR EACH ROW EXECUTE FUNCTION lose()"
    )
    with pytest.raises(TableError, match="would have 3 of 4 rows of the file"):
        load(server, batch({"a": [3, 4], "b": [5, 6]}))
    assert server.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]


def test_a_table_of_another_schema_with_other_types(server: Redshift) -> None:
    server.query("DROP SCHEMA IF EXISTS marketing CASCADE; CREATE SCHEMA marketing")
    server.query(
        "CREATE TABLE marketing.trends (loaded TIMESTAMPTZ, name VARCHAR(20), day DATE, size INTEGER, job VARCHAR(9), "
        "account VARCHAR(9), run VARCHAR(9), id BIGINT GENERATED ALWAYS AS IDENTITY)"
    )
    # Names fold to lower case.
    names = {"audience": "Name", "snapshot_date": "DAY", "contacts": "Size", "job_id": "job", "loaded_at": "Loaded"}
    columns = Columns(names=names, scope={"Account": "it's %s"}, constants={"Run": "r1"})
    assert load(server, batch({"a": [1, None]}), table="Marketing.Trends", columns=columns) == LoadResult(
        new=1, blank=1
    )
    again = load(server, batch({"a": [1, 3]}), table="Marketing.Trends", columns=columns)
    assert again == LoadResult(same=1, new=1)
    rows = server.query("SELECT name, day::text, size, account, run FROM marketing.trends ORDER BY day")
    assert rows == [("a", "2026-11-10", 1, "it's %s", "r1"), ("a", "2026-11-11", 3, "it's %s", "r1")]
    server.query("ALTER TABLE marketing.trends ADD PRIMARY KEY (name, day)")
    with pytest.raises(UnsuitableTableError, match=r"(?s)has the unique key \(name, day\).*Add Account to the key"):
        load(server, batch({"a": [1, 3]}), table="marketing.trends", columns=columns)


def test_a_name_is_as_long_as_its_bytes(server: Redshift) -> None:
    longest = "é" * 512
    load(server, batch({longest: [1, 2]}), columns=Columns(scope={"account": longest}))
    assert server.query("SELECT DISTINCT audience, account FROM trends") == [(longest, longest)]
    with pytest.raises(TableError, match="value too long") as failed:
        load(server, batch({f"{longest}x": [1, 2]}), columns=Columns(scope={"account": "x"}))
    assert "The rows of the table are as before" in failed.value.message


def test_a_namesake_under_another_collation_is_not_deleted(server: Redshift) -> None:
    server.query("CREATE EXTENSION IF NOT EXISTS citext")
    server.query(f"CREATE TABLE trends ({COLUMNS.replace('VARCHAR(100)', 'citext', 1).format(time='TIMESTAMP')})")
    load(server, batch({"VIP": [1, 2]}))
    with pytest.raises(UnsuitableTableError, match="Table 'trends' has rows of audience 'VIP'"):
        load(server, batch({"vip": [3, 4]}))
    assert server.query("SELECT audience, contacts FROM trends ORDER BY 2") == [("VIP", 1), ("VIP", 2)]


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ"])
def test_the_load_time_is_utc(server: Redshift, kind: str) -> None:
    server.query(f"CREATE TABLE trends ({COLUMNS.format(time=kind)})")
    server.query("ALTER DATABASE redshift SET timezone = 'America/Los_Angeles'")
    try:
        load(server, batch({"a": [1, 2]}))
    finally:
        server.query("ALTER DATABASE redshift RESET timezone")
    shown = "loaded_at AT TIME ZONE 'UTC'" if kind == "TIMESTAMPTZ" else "loaded_at"
    ((moment,),) = server.query(f"SELECT DISTINCT {shown} FROM trends")
    assert abs(datetime.now(UTC) - moment.replace(tzinfo=UTC)) < timedelta(minutes=1)


def test_tables_without_a_key_get_no_row_twice(server: Redshift) -> None:
    from concurrent.futures import ThreadPoolExecutor

    server.query(f"CREATE TABLE trends ({COLUMNS.format(time='TIMESTAMP')})")

    def run(number: int) -> LoadResult:
        one = batch({"a": [number, number], f"b{number}": [1, 2]}, job_id=f"j{number}")
        return load(server, one, create=False, owner=f"task-{number}")

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(run, range(6)))
    assert sum(result.rows for result in results) == 24
    assert server.query("SELECT COUNT(*), COUNT(DISTINCT (audience, snapshot_date)) FROM trends") == [(14, 14)]
    assert len(server.query("SELECT DISTINCT job_id, contacts FROM trends WHERE audience = 'a'")) == 1
