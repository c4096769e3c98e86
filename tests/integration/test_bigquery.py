"""Loading into an emulator of BigQuery: what is sent, names, privileges, conflicts, and the staging table."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import (
    InvalidConnectionError,
    InvalidExportError,
    TableError,
    TransientTableError,
    UnsuitableTableError,
)
from airflow_provider_cordial.trends import Columns, LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables import Staging, build_table
from airflow_provider_cordial.trends.tables import bigquery as module
from airflow_provider_cordial.trends.tables.bigquery import BigQueryTable
from airflow_provider_cordial.trends.tables.rows import write_parquet
from cordial_sandbox.process import SandboxProcess
from tests.helpers.errors import in_lines
from tests.helpers.loads import ELEVEN, PLAIN, TEN, batch, deliver
from tests.helpers.loads import load as run_operator
from tests.helpers.sandbox import SetConnection
from tests.integration.servers.bigquery import DATASET, PROJECT, BigQuery, Recorder, recorder
from tests.integration.servers.gateway import service_account_key

#: Each server is started by one process only.
pytestmark = pytest.mark.xdist_group("bigquery")

TABLE = f"{DATASET}.trends"
OWN = "audience STRING, snapshot_date DATE, contacts INT64, job_id STRING, loaded_at TIMESTAMP"
CONFLICT = (400, "invalidQuery", f"Could not serialize access to table {TABLE} due to concurrent update")
DENIED = (403, "accessDenied", "Access Denied: User does not have bigquery.jobs.create permission")


@pytest.fixture
def sent(bigquery: BigQuery, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """What is sent through the connection ``warehouse`` to a dataset without tables."""
    set_connection("warehouse", **bigquery.airflow_connection())
    for name in bigquery.tables():
        bigquery.client().delete_table(f"{DATASET}.{name}")
    monkeypatch.setattr("airflow_provider_cordial.trends.tables.generic.PAUSE", 0.01)
    with recorder(bigquery) as recorded:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", recorded.url)
        yield recorded


def table(name: str = TABLE, columns: Columns | None = None, **options: Any) -> BigQueryTable:
    built = build_table("warehouse", name, columns or Columns(), **{"create": True, **options})
    assert isinstance(built, BigQueryTable)
    return built


def load(one: TrendsBatch, name: str = TABLE, columns: Columns | None = None, **options: Any) -> LoadResult:
    return table(name, columns, **options).load(one)


def test_the_operator_loads_a_delivered_file(cordial: SandboxProcess, bigquery: BigQuery, sent: Recorder) -> None:
    deliver(cordial, PLAIN)
    for new in (3, 0):
        counts = run_operator(table=TABLE)
        assert (counts["rows"], counts["new"]) == (4, new)
    rows = bigquery.query("SELECT contacts FROM trends ORDER BY audience, snapshot_date")
    assert rows == [(3,), (None,), (1,), (2,)]


def test_a_connection_to_google_cloud_loads_into_bigquery(
    bigquery: BigQuery, sent: Recorder, set_connection: SetConnection
) -> None:
    set_connection("warehouse", **{**bigquery.airflow_connection(), "conn_type": "google_cloud_platform"})
    assert load(batch({"a": [1, 2]})) == LoadResult(new=2)


def test_one_count_and_one_merge_are_sent(bigquery: BigQuery, sent: Recorder) -> None:
    columns = Columns(scope={"account": "us`'"}, constants={"note": "n`'"})
    days = [TEN, ELEVEN, ELEVEN + timedelta(days=2)]
    load(batch({"a": [1, 2, 3]}, days=days), columns=columns)
    count, merge = sent.statements
    assert count.startswith("SELECT COUNTIF(")
    assert merge.startswith(f"MERGE `{PROJECT}.{DATASET}.trends` AS old USING (")
    assert " ON FALSE " in merge
    # Constant ranges: BigQuery reads only these partitions, in the source and in the target.
    part = r"BETWEEN DATE '2026-11-10' AND DATE '2026-11-11' OR \S+ BETWEEN DATE '2026-11-13' AND DATE '2026-11-13'"
    assert len(re.findall(part, merge)) == 2
    # Everything else is bound.
    assert "us`" not in merge
    assert "n`" not in merge
    jobs = [request.body["configuration"] for request in sent.requests if "configuration" in request.body]
    assert [next(kind for kind in ("load", "query") if kind in job) for job in jobs] == ["load", "query", "query"]
    assert all(job["labels"] == {"airflow-provider": "cordial"} for job in jobs)
    assert bigquery.query("SELECT account, note, count(*) FROM trends GROUP BY 1, 2") == [("us`'", "n`'", 3)]


def test_a_file_that_changes_nothing_sends_no_merge(sent: Recorder) -> None:
    load(batch({"a": [1, None]}))
    sent.requests.clear()
    assert load(batch({"a": [1, None]})) == LoadResult(same=1, blank=1)
    assert [statement.split()[0] for statement in sent.statements] == ["SELECT"]


def test_corrections_and_merge_are_one_transaction(bigquery: BigQuery, sent: Recorder) -> None:
    load(batch({"a": [1, 2], "b": [3, None]}, corrections=True))
    # Nothing is corrected: no transaction.
    assert [statement.split()[0] for statement in sent.statements] == ["SELECT", "MERGE"]
    sent.requests.clear()
    load(batch({"a": [1, 4], "b": [3, None]}, job_id="j2", corrections=True, max_change=1))
    compare, script = sent.statements
    assert compare.startswith("SELECT COUNTIF(")
    begin, insert, merge, commit = script.split("; ")
    assert (begin, commit) == ("BEGIN TRANSACTION", "COMMIT TRANSACTION")
    assert insert.startswith(f"INSERT INTO `{PROJECT}.{TABLE}_corrections` (`audience`, `snapshot_date`, ")
    assert merge.startswith(f"MERGE `{PROJECT}.{TABLE}` AS old ")
    assert bigquery.query("SELECT old_contacts, new_contacts FROM trends_corrections") == [(2, 4)]


def test_a_conflict_records_corrections_once(bigquery: BigQuery, sent: Recorder) -> None:
    load(batch({"a": [1, 2]}, corrections=True))
    sent.answers.append(("BEGIN TRANSACTION", *CONFLICT))
    assert load(batch({"a": [1, 4]}, job_id="j2", corrections=True)) == LoadResult(same=1, corrected=1)
    assert bigquery.query("SELECT old_contacts, new_contacts FROM trends_corrections") == [(2, 4)]


def test_numbers_of_other_types_are_recorded(bigquery: BigQuery, sent: Recorder) -> None:
    bigquery.query(f"CREATE TABLE trends ({OWN.replace('INT64', 'NUMERIC').replace('TIMESTAMP', 'DATETIME')})")
    bigquery.query(
        "CREATE TABLE trends_corrections (audience STRING, snapshot_date DATE, old_contacts INT64, "
        "new_contacts FLOAT64, job_id STRING, corrected_at DATETIME)"
    )
    for size in (1, 2):
        load(batch({"a": [size, 2]}, corrections=True), create=False)
    assert bigquery.query("SELECT old_contacts, new_contacts FROM trends_corrections") == [(1, 2.0)]
    bigquery.query("DROP TABLE trends_corrections")
    bigquery.query("CREATE TABLE trends_corrections (audience STRING, snapshot_date DATE)")
    with pytest.raises(UnsuitableTableError, match="Table 'marketing.trends_corrections' needs column 'old_contacts'"):
        load(batch({"a": [3, 2]}, corrections=True), create=False)
    assert sent.answers == []


def test_a_new_table_is_partitioned_and_clustered(bigquery: BigQuery, sent: Recorder) -> None:
    scope = dict.fromkeys(("account", "brand", "region", "site"), "x")
    load(batch({"a": [1, 2]}), columns=Columns(names={"snapshot_date": "day"}, scope=scope))
    created = bigquery.client().get_table(TABLE)
    assert created.time_partitioning.field == "day"
    # BigQuery takes four.
    assert created.clustering_fields == ["brand", "region", "site", "audience"]
    assert [field.name for field in created.schema if field.mode == "NULLABLE"] == ["contacts"]
    assert not any(re.match(r"create|alter|drop", statement, re.IGNORECASE) for statement in sent.statements)


def test_the_staging_table_is_deleted_and_would_expire(bigquery: BigQuery, sent: Recorder) -> None:
    load(batch({"a": [1, 2]}))
    created = [
        request.body
        for request in sent.requests
        if request.body.get("tableReference", {}).get("tableId", "").startswith("cordial_staging_")
    ]
    assert len(created) == 1
    expires = datetime.fromtimestamp(int(created[0]["expirationTime"]) / 1000, UTC) - datetime.now(UTC)
    assert timedelta(hours=5) < expires <= timedelta(hours=6)
    assert bigquery.tables() == ["trends"]


def test_a_staging_table_that_cannot_be_deleted_fails_no_load(bigquery: BigQuery, sent: Recorder) -> None:
    sent.answers.append((f"DELETE /bigquery/v2/projects/{PROJECT}/datasets/{DATASET}/tables/cordial_staging_", *DENIED))
    assert load(batch({"a": [1, 2]})) == LoadResult(new=2)
    assert sent.answers == []
    assert len(bigquery.tables()) == 2


def test_the_staging_table_can_be_in_another_dataset(bigquery: BigQuery, sent: Recorder) -> None:
    bigquery.client().create_dataset("scratch", exists_ok=True)
    for location in ("scratch", f"{PROJECT}.scratch"):
        sent.requests.clear()
        load(batch({"a": [1, 2]}), staging=Staging(location=location))
        assert f"FROM `{PROJECT}.scratch.cordial_staging_" in sent.statements[0]
    assert bigquery.tables("scratch") == []
    sent.answers.append(("MERGE", *DENIED))
    with pytest.raises(TableError, match=f"on dataset {PROJECT}.{DATASET} and {PROJECT}.scratch, and roles/bigquery"):
        load(batch({"a": [3, 4]}), staging=Staging(location="scratch"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trends", r"Invalid table name 'trends': .*no default dataset\. Write dataset\.trends, or project\.dataset\."),
        ("my-data.trends", "Invalid table name 'my-data.trends': expected dataset.table or project.dataset.table"),
        ("x.marketing.my-trends", "Invalid table name 'x.marketing.my-trends'"),
        ("My-Project.marketing.trends", "in the project lower-case letters, digits, and dashes"),
        ("a.b.marketing.trends", "Invalid table name"),
        ("marketing.`trends`", "Invalid table name"),
        (".trends", "Invalid table name"),
    ],
)
def test_an_invalid_name_is_refused(sent: Recorder, name: str, message: str) -> None:
    with pytest.raises(InvalidExportError, match=in_lines(message)):
        table(name)
    assert sent.requests == []


@pytest.mark.parametrize(
    ("staging", "message"),
    [
        (Staging(location="s3://bucket/x"), "Invalid staging dataset 's3://bucket/x': expected dataset or project."),
        (Staging(location="my-data"), "Invalid staging dataset 'my-data'"),
        (Staging(conn_id="other"), "Invalid staging connection 'other': .* Remove staging_conn_id"),
    ],
)
def test_an_invalid_staging_is_refused(sent: Recorder, staging: Staging, message: str) -> None:
    with pytest.raises(InvalidExportError, match=in_lines(message)):
        table(staging=staging)
    assert sent.requests == []


def test_a_project_can_be_named(bigquery: BigQuery, sent: Recorder) -> None:
    assert load(batch({"a": [1, 2]}), f"{PROJECT}.{TABLE}") == LoadResult(new=2)
    assert load(batch({"a": [1, 2]}), TABLE) == LoadResult(same=2)


def test_a_project_of_a_domain_is_quoted_whole(sent: Recorder) -> None:
    assert table("example.com:my-project.marketing.trends").whole_name == "example.com:my-project.marketing.trends"


@pytest.mark.parametrize("shown", [dict, json.dumps], ids=["an object", "a text"])
def test_a_connection_can_have_a_default_dataset_and_labels(
    bigquery: BigQuery, sent: Recorder, set_connection: SetConnection, shown: Callable[[Any], Any]
) -> None:
    configuration = {"query": {"defaultDataset": {"datasetId": DATASET}}}
    extra = {"api_resource_configs": shown(configuration), "labels": shown({"team": "crm"})}
    set_connection("warehouse", **bigquery.airflow_connection(**extra))
    assert load(batch({"a": [1, 2]}), "trends") == LoadResult(new=2)
    assert bigquery.tables() == ["trends"]
    labels = [request.body["configuration"]["labels"] for request in sent.requests if request.statement]
    assert labels == [{"team": "crm", "airflow-provider": "cordial"}] * 2


@pytest.mark.parametrize("step", ["POST /bigquery/v2/projects/my-project/datasets/marketing/tables", "MERGE", "GET"])
def test_missing_privileges_are_named(bigquery: BigQuery, sent: Recorder, step: str) -> None:
    load(batch({"a": [1, 2]}))
    sent.answers.append((step, *DENIED))
    with pytest.raises(TableError) as failed:
        load(batch({"a": [3, 4]}))
    text = failed.value.message
    assert text.startswith(f"Table '{TABLE}' of connection 'warehouse' cannot be loaded: Forbidden: Access Denied: ")
    assert "http" not in text
    assert (
        f"roles/bigquery.dataEditor on dataset {PROJECT}.{DATASET}, and roles/bigquery.jobUser on project {PROJECT}"
    ) in text
    assert not failed.value.retry_helps
    assert bigquery.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]
    assert bigquery.tables() == ["trends"]


def test_a_missing_dataset_is_a_typed_error(sent: Recorder) -> None:
    # The emulator answers that it failed.
    sent.answers.append(("POST", 404, "notFound", f"Not found: Dataset {PROJECT}:nothing"))
    with pytest.raises(
        TableError, match=r"(?s)NotFound: .*nothing.* create_table=True creates a missing table, but no da"
    ):
        load(batch({"a": [1, 2]}), "nothing.trends")


def test_a_conflict_is_merged_again(bigquery: BigQuery, sent: Recorder) -> None:
    load(batch({"a": [1, 2]}))
    sent.requests.clear()
    sent.answers.extend([("MERGE", *CONFLICT)] * 3)
    assert load(batch({"a": [3, 2]}, job_id="j2")) == LoadResult(corrected=1, same=1)
    assert [statement.split()[0] for statement in sent.statements] == ["SELECT", "MERGE"] * 4
    # The file is loaded once.
    assert len([request for request in sent.requests if "load" in request.body.get("configuration", {})]) == 1
    assert bigquery.query("SELECT contacts FROM trends ORDER BY 1") == [(2,), (3,)]


def test_a_conflict_that_persists_is_temporary(bigquery: BigQuery, sent: Recorder) -> None:
    load(batch({"a": [1, 2]}))
    sent.answers.extend([("MERGE", *CONFLICT)] * 5)
    with pytest.raises(TransientTableError, match="due to concurrent update\\.\\sRetry the task"):
        load(batch({"a": [3, 4]}))
    assert bigquery.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]
    assert bigquery.tables() == ["trends"]


def test_rows_that_did_not_arrive_are_an_error(
    bigquery: BigQuery, sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(batch({"a": [1, 2], "b": [3, 4]}))

    def lose_one(path: Path, one: TrendsBatch) -> None:
        write_parquet(path, replace(one, rows=list(one.rows)[:-1]))

    monkeypatch.setattr(module, "write_parquet", lose_one)
    sent.requests.clear()
    with pytest.raises(TableError, match=r"(?s)would have 2 of 4 rows of the file.*rows of the table are as before"):
        load(batch({"a": [5, 6], "b": [7, 8]}))
    assert sent.statements == []
    assert bigquery.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,), (3,), (4,)]
    assert bigquery.tables() == ["trends"]


def test_a_staging_table_with_other_rows_is_an_error(
    bigquery: BigQuery, sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(batch({"a": [1, 2]}))
    fill = BigQueryTable._fill

    def fill_and_add(self: BigQueryTable, staging: Any, *args: Any) -> int:
        count = fill(self, staging, *args)
        bigquery.query(f"INSERT INTO {staging.table_id} VALUES ('a', '2026-11-10', 9)")
        return count

    monkeypatch.setattr(BigQueryTable, "_fill", fill_and_add)
    with pytest.raises(TableError, match="would have 3 of 2 rows of the file: another process"):
        load(batch({"a": [3, 4]}))
    assert bigquery.query("SELECT contacts FROM trends ORDER BY 1") == [(1,), (2,)]


def test_a_number_is_kept_once_of_rows_that_are_there_twice(bigquery: BigQuery, sent: Recorder) -> None:
    bigquery.query(f"CREATE TABLE trends ({OWN})")
    rows = ["NULL, 'j3', '2026-11-13'", "5, 'j2', '2026-11-12'", "4, 'j1', '2026-11-11'"]
    for row in rows:
        bigquery.query(f"INSERT INTO trends VALUES ('a', '2026-11-10', {row})")
    assert load(batch({"a": [None]}, days=[TEN], job_id="j9")) == LoadResult(kept=1)
    assert bigquery.query("SELECT contacts, job_id FROM trends") == [(5, "j2")]
    # Of equal rows one is deleted, though the file changes nothing.
    bigquery.query("INSERT INTO trends VALUES ('a', '2026-11-10', 5, 'j2', '2026-11-12')")
    assert load(batch({"a": [5]}, days=[TEN], job_id="j2")) == LoadResult(same=1)
    assert bigquery.query("SELECT contacts, job_id FROM trends") == [(5, "j2")]


def test_a_table_of_somebody_else(bigquery: BigQuery, sent: Recorder) -> None:
    bigquery.query(
        "CREATE TABLE trends (note STRING DEFAULT 'new', size NUMERIC, loaded_at DATETIME, Day DATE, job_id STRING, "
        "audience STRING, tags ARRAY<STRING>)"
    )
    columns = Columns(names={"contacts": "size", "snapshot_date": "day"})
    assert load(batch({"a": [1, 2], "b": [3, 4]}), columns=columns, create=False) == LoadResult(new=4)
    bigquery.query("UPDATE trends SET note = 'mine', tags = ['x'] WHERE audience = 'a'")
    ((moment,),) = bigquery.query("SELECT DISTINCT loaded_at FROM trends")
    assert abs(datetime.now(UTC) - moment.replace(tzinfo=UTC)) < timedelta(minutes=1)
    assert load(batch({"a": [1, 9], "b": [3, None]}), columns=columns) == LoadResult(same=2, corrected=1, kept=1)
    # What does not change keeps the columns that the load does not know.
    rows = bigquery.query("SELECT audience, CAST(size AS INT64), note, tags FROM trends ORDER BY audience, day")
    assert rows == [("a", 1, "mine", ["x"]), ("a", 9, "new", []), ("b", 3, "new", []), ("b", 4, "new", [])]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (OWN.replace("contacts", "size"), r"needs column 'contacts', which it does not have\. Add the column"),
        (OWN.replace("DATE,", "DATETIME,"), "needs column 'snapshot_date', which is of type DATETIME: expected DATE"),
        (f"{OWN}, account INT64", "needs column 'account', which is of type INTEGER: expected STRING"),
    ],
)
def test_unsuitable_columns_are_refused(bigquery: BigQuery, sent: Recorder, columns: str, message: str) -> None:
    bigquery.query(f"CREATE TABLE trends ({columns})")
    sent.requests.clear()
    with pytest.raises(UnsuitableTableError, match=in_lines(f"Table '{TABLE}' {message}")):
        load(batch({"a": [1, 2]}), columns=Columns(scope={"account": "us"}) if "account" in columns else None)
    assert [request.method for request in sent.requests] == ["GET"]


def test_many_and_long_names(bigquery: BigQuery, sent: Recorder) -> None:
    names = [f"{n} {'山' * 300}" for n in range(1000)]
    assert load(batch({name: [1, None] for name in names})) == LoadResult(new=1000, blank=1000)
    assert load(batch({name: [2, None] for name in names})) == LoadResult(corrected=1000, blank=1000)
    assert bigquery.query("SELECT count(*), count(DISTINCT audience), sum(contacts) FROM trends") == [
        (2000, 1000, 2000)
    ]


def test_a_key_is_in_no_error_and_no_log(
    bigquery: BigQuery, sent: Recorder, set_connection: SetConnection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # The emulator does not issue tokens.
    key, _ = service_account_key(f"{sent.url}/token")
    extra = {"project": PROJECT, "keyfile_dict": key}
    set_connection("warehouse", conn_type="gcpbigquery", extra=extra)
    with pytest.raises(TableError, match="Check the credentials of connection 'warehouse'") as failed:
        load(batch({"a": [1, 2]}))
    secret = key["private_key"].splitlines()[1]
    assert secret not in failed.value.message
    set_connection(
        "warehouse", conn_type="gcpbigquery", extra={**extra, "keyfile_dict": {**key, "private_key": secret}}
    )
    with pytest.raises(
        InvalidConnectionError, match="Connection 'warehouse' has no usable Google Cloud cred"
    ) as refused:
        load(batch({"a": [1, 2]}))
    assert secret not in refused.value.message
    assert secret not in caplog.text
    assert [request.path for request in sent.requests] == ["/token"]


def test_a_connection_without_a_project_is_refused(sent: Recorder, set_connection: SetConnection) -> None:
    set_connection("warehouse", conn_type="gcpbigquery", extra={"is_anonymous": True})
    with pytest.raises(InvalidConnectionError, match="'warehouse' has no Google Cloud project\\.\\sSet project"):
        load(batch({"a": [1, 2]}))
    # That of the table runs the jobs as well.
    assert load(batch({"a": [1, 2]}), f"{PROJECT}.{TABLE}") == LoadResult(new=2)


def test_a_collation_that_ignores_case_is_refused(sent: Recorder) -> None:
    from google.cloud.bigquery import SchemaField, Table

    # The emulator has no collations.
    schema = [field.to_api_repr() for field in table()._new_schema()]
    schema[0]["collation"] = "und:ci"
    with pytest.raises(UnsuitableTableError, match="needs column 'audience', whose collation ignores case"):
        table()._check(Table(f"{PROJECT}.{TABLE}", [SchemaField.from_api_repr(field) for field in schema]))


@pytest.mark.parametrize(
    ("status", "reason", "helps"),
    [
        (403, "accessDenied", False),
        (403, "billingNotEnabled", False),
        (403, "quotaExceeded", True),
        (403, "rateLimitExceeded", True),
        (409, "duplicate", True),
        (429, "rateLimitExceeded", True),
        (500, "internalError", True),
        (501, "notImplemented", False),
        (503, "backendError", True),
        (400, "invalidQuery", False),
        (400, "tableUnavailable", True),
    ],
)
def test_a_retry_helps_by_reason(sent: Recorder, status: int, reason: str, helps: bool) -> None:
    from google.api_core.exceptions import RetryError, from_http_status

    make: Any = from_http_status
    wrap: Any = RetryError
    error = make(status, "It failed", errors=[{"reason": reason, "message": "It failed"}])
    for one in (error, wrap("Timeout of 600.0s exceeded", error)):
        with pytest.raises(TableError, match="It failed") as failed, table()._errors():
            raise one
        assert failed.value.retry_helps is helps
        assert ("roles/bigquery" in failed.value.message) is (reason == "accessDenied")


def test_a_lost_connection_is_temporary(sent: Recorder) -> None:
    from google.auth.exceptions import RefreshError, TransportError
    from requests.exceptions import ConnectionError as RequestsConnectionError

    kinds: list[tuple[Any, bool]] = [(TransportError, True), (RequestsConnectionError, True), (RefreshError, False)]
    for kind, helps in kinds:
        with pytest.raises(TableError) as failed, table()._errors():
            raise kind("x")
        assert failed.value.retry_helps is helps
