"""One task exports, waits, and loads; its retry loads what was exported."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.exceptions import InvalidExportError, TableError
from airflow_provider_cordial.transfers import AudienceTrendsSyncOperator
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import QUICK
from tests.helpers.operators import Store, run_context
from tests.helpers.waits import run_trigger

AUDIENCES = ["opened_last_30_days", "purchased_last_30_days"]


def build(**options: Any) -> AudienceTrendsSyncOperator:
    defaults: dict[str, Any] = {
        "task_id": "export",
        "audiences": AUDIENCES,
        "destination": SftpDestination(conn_id="sftp_default", path="exports"),
        "conn_id": "warehouse",
        "create_table": True,
        "file_wait": QUICK,
        "deferrable": False,
        "timeframe": {"start": "2026-11-08", "end": "2026-11-10"},
    }
    return AudienceTrendsSyncOperator(**{**defaults, **options})


def run(context: dict[str, Any], **options: Any) -> Any:
    return build(**options).execute(context)  # type: ignore[arg-type]


def rows(warehouse: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(warehouse)) as connection:
        return connection.execute(
            "SELECT audience, snapshot_date, job_id FROM audience_trends ORDER BY 1, 2"
        ).fetchall()


def test_one_task_exports_and_loads(cordial: SandboxProcess, warehouse: Path) -> None:
    context = run_context()
    result = run(context)
    (job,) = cordial.control.jobs()
    assert result["job_id"] == job["id"]
    assert (result["rows"], result["new"]) == (6, 6)
    assert rows(warehouse) == [
        (audience, str(date(2026, 11, day)), job["id"]) for audience in AUDIENCES for day in (8, 9, 10)
    ]
    assert context["ti"].xcoms["export"]["job_id"] == job["id"]


def test_the_wait_is_deferred_and_the_load_follows(cordial: SandboxProcess, warehouse: Path) -> None:
    context = run_context()
    with pytest.raises(TaskDeferred) as deferred:
        run(context, deferrable=True)
    job_id = context["ti"].xcoms["export"]["job_id"]
    assert deferred.value.trigger.job_id == job_id
    event = run_trigger(deferred.value.trigger)
    # Another process.
    result = build(deferrable=True).execute_complete(context, event)  # type: ignore[arg-type]
    assert (result["job_id"], len(rows(warehouse))) == (job_id, 6)


def test_a_retry_after_a_failed_load_exports_nothing(cordial: SandboxProcess, warehouse: Path) -> None:
    store = Store()
    with closing(sqlite3.connect(warehouse)) as connection:
        connection.execute("CREATE TABLE audience_trends (something_else TEXT)")
    with pytest.raises(TableError):
        run(run_context() | {"task_state_store": store})
    with closing(sqlite3.connect(warehouse)) as connection:
        connection.execute("DROP TABLE audience_trends")
    # The job is Done: the retry does not even wait.
    result = run(run_context(try_number=2) | {"task_state_store": store}, deferrable=True)
    (job,) = cordial.control.jobs()
    assert (result["job_id"], len(rows(warehouse))) == (job["id"], 6)


def test_a_clear_exports_again(cordial: SandboxProcess, warehouse: Path) -> None:
    store = Store()
    first = run(run_context() | {"task_state_store": store})
    second = run(run_context(max_tries=5, clear_number=1) | {"task_state_store": store})
    assert first["job_id"] != second["job_id"]
    assert {row[2] for row in rows(warehouse)} == {second["job_id"]}


def test_bad_parameters_of_the_load_fail_before_the_export(cordial: SandboxProcess, warehouse: Path) -> None:
    with pytest.raises(InvalidExportError, match="Invalid on_blank 'drop'"):
        run(run_context(), on_blank="drop")
    with pytest.raises(InvalidExportError, match="Invalid max_change '50%'"):
        run(run_context(), max_change="50%")
    assert cordial.control.jobs() == []


def test_it_can_be_mapped_over_a_plan() -> None:
    with DAG("d") as dag:
        AudienceTrendsSyncOperator.partial(
            task_id="sync", destination=SftpDestination(conn_id="sftp_default", path="exports"), conn_id="warehouse"
        ).expand_kwargs([{"audiences": ["a"], "timeframe": {"start": "2026-11-10", "end": "2026-11-10"}}])
    (task,) = dag.tasks
    assert {"audiences", "timeframe", "conn_id", "table", "destination"} <= set(task.template_fields)
    assert "export" not in task.template_fields


def test_a_missing_parameter_is_an_error_when_the_dag_is_parsed() -> None:
    with pytest.raises(TypeError, match="conn_id"):
        AudienceTrendsSyncOperator(task_id="sync", audiences=["a"], destination={})
