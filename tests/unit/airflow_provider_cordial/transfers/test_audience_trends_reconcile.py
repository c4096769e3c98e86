"""Exporting again, and comparing with a table that is only read."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.exceptions import (
    CordialError,
    InvalidConnectionError,
    InvalidExportError,
    InvalidParameterError,
    TableDiffersError,
    TableError,
)
from airflow_provider_cordial.transfers import AudienceTrendsReconcileOperator, AudienceTrendsSyncOperator
from airflow_provider_cordial.trends import Columns
from cordial_sandbox.accounts import BUILT_IN_AUDIENCES
from cordial_sandbox.process import SandboxProcess
from tests.helpers.errors import in_lines
from tests.helpers.loads import QUICK
from tests.helpers.operators import Store, run_context
from tests.helpers.waits import run_trigger

#: The second is tracked from the last of these days on: its other cells are blank.
AUDIENCES = ["opened_last_30_days", "recently_tracked"]
OPENED, RECENT = AUDIENCES
DAYS = ["2025-12-30", "2025-12-31", "2026-01-01"]

COMMON: dict[str, Any] = {
    "audiences": AUDIENCES,
    "destination": SftpDestination(conn_id="sftp_default", path="exports"),
    "conn_id": "warehouse",
    "file_wait": QUICK,
    "deferrable": False,
    "timeframe": {"start": DAYS[0], "end": DAYS[-1]},
}


def build(**options: Any) -> AudienceTrendsReconcileOperator:
    return AudienceTrendsReconcileOperator(**{"task_id": "export", **COMMON, **options})


def run(context: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = build(**options).execute(context or run_context())  # type: ignore[arg-type]
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


def sql(warehouse: Path, *statements: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(warehouse)) as connection, connection:
        return [row for statement in statements for row in connection.execute(statement)]


@pytest.fixture
def loaded(cordial: SandboxProcess, warehouse: Path) -> Path:
    """A table with the six cells of both audiences."""
    operator = AudienceTrendsSyncOperator(task_id="load", create_table=True, **COMMON)
    operator.execute(run_context(task_id="load"))  # type: ignore[arg-type]
    return warehouse


@pytest.fixture
def damaged(loaded: Path) -> Path:
    """The same with a difference of each kind."""
    sql(
        loaded,
        f"UPDATE audience_trends SET contacts = 1 WHERE audience = '{OPENED}' AND snapshot_date = '{DAYS[0]}'",
        f"DELETE FROM audience_trends WHERE audience = '{OPENED}' AND snapshot_date = '{DAYS[1]}'",
        f"UPDATE audience_trends SET contacts = NULL WHERE audience = '{OPENED}' AND snapshot_date = '{DAYS[2]}'",
        f"UPDATE audience_trends SET contacts = 7 WHERE audience = '{RECENT}' AND snapshot_date = '{DAYS[0]}'",
        # Blank, as the file is.
        f"DELETE FROM audience_trends WHERE audience = '{RECENT}' AND snapshot_date = '{DAYS[1]}'",
    )
    return loaded


def contacts(cordial: SandboxProcess, audience: str, day: str) -> int:
    (snapshot,) = cordial.control.snapshots(audience=audience, start=day, end=day)
    return int(snapshot["contacts"])


def test_a_table_without_differences_equals_cordial(
    cordial: SandboxProcess, loaded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sql(loaded, "SELECT * FROM audience_trends ORDER BY 1, 2")
    context = run_context()
    result = run(context, report_path=str(tmp_path / "report.csv"), on_difference="fail")
    job = cordial.control.job(result["job_id"])
    assert result == {
        "compared": 6,
        "changed": 0,
        "missing": 0,
        "blank": 0,
        "lost": 0,
        "audiences": 2,
        "days": 3,
        "file": f"exports/{job['name']}.csv",
        "job_id": job["id"],
        "report": str(tmp_path / "report.csv"),
        "truncated": False,
    }
    assert context["ti"].xcoms["differences"] == {}
    assert (tmp_path / "report.csv").read_text() == "audience,snapshot_date,difference,table,file\n"
    assert sql(loaded, "SELECT * FROM audience_trends ORDER BY 1, 2") == before
    assert "Table audience_trends equals Cordial in all 6 cells" in capsys.readouterr().out


def test_each_kind_is_counted_reported_and_named(
    cordial: SandboxProcess, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sql(damaged, "SELECT * FROM audience_trends ORDER BY 1, 2")
    report = tmp_path / "reports" / "differences.csv"
    context = run_context()
    result = run(context, report_path=f"file://{report}")
    counts = {"compared": 6, "changed": 1, "missing": 1, "blank": 1, "lost": 1}
    assert {name: result[name] for name in counts} == counts
    numbers = [str(contacts(cordial, OPENED, day)) for day in DAYS]
    with report.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["audience", "snapshot_date", "difference", "table", "file"],
            [OPENED, DAYS[0], "changed", "1", numbers[0]],
            [OPENED, DAYS[1], "missing", "", numbers[1]],
            [OPENED, DAYS[2], "blank", "", numbers[2]],
            [RECENT, DAYS[0], "lost", "7", ""],
        ]
    assert [path.name for path in report.parent.iterdir()] == ["differences.csv"]
    assert context["ti"].xcoms["differences"] == {OPENED: DAYS, RECENT: [DAYS[0]]}
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "differs" in line]
    assert "warning" in line
    assert (
        "Table audience_trends differs from Cordial in 4 of 6 cells: changed 1, missing 1, blank 1, lost 1. "
        f"'{OPENED}' on {DAYS[0]} changed (table 1, file {numbers[0]}); "
    ) in line
    assert sql(damaged, "SELECT * FROM audience_trends ORDER BY 1, 2") == before


def test_the_differences_are_what_a_sync_loads_again(cordial: SandboxProcess, damaged: Path) -> None:
    context = run_context()
    run(context)
    for audience, days in context["ti"].xcoms["differences"].items():
        for day in days:
            options = {**COMMON, "audiences": [audience], "timeframe": {"start": day, "end": day}}
            operator = AudienceTrendsSyncOperator(task_id="again", **options)
            operator.execute(run_context(task_id="again", run_id=f"{audience} {day}"))  # type: ignore[arg-type]
    result = run(run_context(run_id="scheduled__2"))
    # A number is never replaced by a blank unless that is asked for.
    assert [result[kind] for kind in ("changed", "missing", "blank", "lost")] == [0, 0, 0, 1]


def test_a_difference_fails_the_task_on_request(damaged: Path, tmp_path: Path) -> None:
    context = run_context()
    with pytest.raises(TableDiffersError) as failed:
        run(context, on_difference="fail", report_path=str(tmp_path / "report.csv"))
    first = str(failed.value).splitlines()[0]
    assert first == (
        "Table 'audience_trends' differs from Cordial in 4 of 6 cells: changed 1, missing 1, blank 1, lost 1."
    )
    assert isinstance(failed.value, AirflowFailException)
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 5
    assert context["ti"].xcoms["differences"][RECENT] == [DAYS[0]]


def test_only_rows_of_the_scope_are_compared(cordial: SandboxProcess, loaded: Path) -> None:
    sql(loaded, "ALTER TABLE audience_trends ADD account TEXT", "UPDATE audience_trends SET account = 'us'")
    scopes = {name: run(columns=Columns(scope={"account": name})) for name in ("us", "eu")}
    assert (scopes["us"]["missing"], scopes["eu"]["missing"]) == (0, 4)


def test_a_retry_resumes_the_job_and_compares_again(cordial: SandboxProcess, loaded: Path) -> None:
    store = Store()
    sql(loaded, "ALTER TABLE audience_trends RENAME TO elsewhere")
    with pytest.raises(TableError, match="audience_trends"):
        run(run_context() | {"task_state_store": store})
    sql(loaded, "ALTER TABLE elsewhere RENAME TO audience_trends")
    # The job is Done: the retry does not even wait.
    result = run(run_context(try_number=2) | {"task_state_store": store}, deferrable=True)
    assert result["compared"] == 6
    # That of the load, and one of both tries.
    assert len(cordial.control.jobs()) == 2


def test_the_wait_is_deferred_and_the_comparison_follows(cordial: SandboxProcess, loaded: Path) -> None:
    context = run_context()
    with pytest.raises(TaskDeferred) as deferred:
        run(context, deferrable=True)
    event = run_trigger(deferred.value.trigger)
    # Another process.
    result = build(deferrable=True).execute_complete(context, event)  # type: ignore[arg-type]
    assert (result["compared"], result["job_id"]) == (6, context["ti"].xcoms["export"]["job_id"])


def test_a_retry_of_a_sample_requests_the_same_audiences(cordial: SandboxProcess, loaded: Path) -> None:
    names = [audience.name for audience in BUILT_IN_AUDIENCES if audience.analytics]
    store = Store()
    options = {"audiences": names, "sample": 3}
    first = run(run_context() | {"task_state_store": store}, **options)
    again = run(run_context(try_number=2) | {"task_state_store": store}, **options | {"audiences": names[::-1]})
    assert first["job_id"] == again["job_id"]
    assert (first["audiences"], first["compared"]) == (3, 9)
    other = run(run_context(run_id="scheduled__2"), **options)
    samples = {job["id"]: job["audiences"] for job in cordial.control.jobs()}
    assert len(samples[first["job_id"]]) == len(samples[other["job_id"]]) == 3
    assert samples[first["job_id"]] != samples[other["job_id"]]


def test_an_audience_that_cordial_refuses_is_not_compared(cordial: SandboxProcess, loaded: Path) -> None:
    result = run(audiences=[OPENED, "unknown"], on_refused_audience="skip")
    assert (result["compared"], result["refused_audiences"]) == (3, ["unknown"])


def test_an_interrupted_report_leaves_the_earlier_one(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.csv"
    report.write_text("earlier")

    def copy_half(source: IO[bytes], sink: IO[bytes], _length: int) -> None:
        sink.write(source.read(20))
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfileobj", copy_half)
    with pytest.raises(KeyboardInterrupt):
        run(report_path=str(report))
    assert report.read_text() == "earlier"


def test_a_failed_comparison_writes_no_report(cordial: SandboxProcess, warehouse: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError):
        run(report_path=str(tmp_path / "report.csv"))
    assert not (tmp_path / "report.csv").exists()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"on_difference": "ignore"}, InvalidParameterError, "Invalid on_difference 'ignore': expected 'fail' or"),
        ({"sample": 0}, InvalidExportError, "Invalid sample 0: expected a number of audiences"),
        ({"report_path": ""}, InvalidParameterError, "Invalid report_path '': expected the path of a file"),
        ({"report_path": "/reports/"}, InvalidParameterError, "Invalid report_path '/reports/'"),
        ({"table": "a-b"}, InvalidExportError, "Invalid table name 'a-b'"),
        ({"conn_id": "gone"}, InvalidConnectionError, "gone"),
    ],
)
def test_invalid_parameters_are_rejected_before_the_export(
    cordial: SandboxProcess, warehouse: Path, options: dict[str, Any], error: type[CordialError], text: str
) -> None:
    with pytest.raises(error, match=in_lines(text)):
        run(**options)
    assert cordial.control.jobs() == []


def test_it_can_be_mapped_and_publishes_nothing() -> None:
    with DAG("d") as dag:
        build(dag=dag, task_id="one")
        AudienceTrendsReconcileOperator.partial(
            task_id="reconcile",
            destination=SftpDestination(conn_id="sftp_default", path="exports"),
            conn_id="warehouse",
        ).expand_kwargs([{"audiences": ["a"], "timeframe": {"start": "2026-11-10", "end": "2026-11-10"}}])
    for task in dag.tasks:
        assert {"audiences", "timeframe", "conn_id", "table", "report_path"} <= set(task.template_fields)
        assert "export" not in task.template_fields
        assert not task.outlets
