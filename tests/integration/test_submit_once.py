"""One job per submission in a whole Airflow: a task that is killed, cleared, failed manually, and backfilled."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.integration.airflow import Airflow
from tests.integration.servers.postgres import Postgres

#: Longer than the scheduler needs to record a deferral.
POLL_INTERVAL = "8"

TRIGGER = "SELECT kwargs, triggerer_id FROM trigger JOIN task_instance ON trigger_id = trigger.id"


@pytest.fixture
def airflow(tmp_path: Path, postgres: Postgres, sandbox: SandboxProcess) -> Iterator[Airflow]:
    cordial = {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key}
    environment = {
        "AIRFLOW_CONN_CORDIAL_DEFAULT": json.dumps(cordial),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": POLL_INTERVAL,
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    }
    dags = Path(__file__).parent / "dags" / "submit_once"
    with Airflow(tmp_path / "airflow", postgres.with_database("submit_once"), dags, environment) as airflow:
        airflow.wait_until_ready("by_hand")
        yield airflow


def names(sandbox: SandboxProcess, dag_id: str) -> list[str]:
    return [job["name"] for job in sandbox.control.jobs() if job["name"].startswith(f"{dag_id}-")]


@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(400)
def test_a_retry_finds_its_job_and_a_clear_creates_another(airflow: Airflow, sandbox: SandboxProcess) -> None:
    def task(dag_id: str = "by_hand") -> list[tuple[str, int, int | None]]:
        return airflow.rows("SELECT state, try_number, pid FROM task_instance WHERE dag_id = %s", dag_id)

    def trigger_logs() -> str:
        logs = airflow.home.rglob("attempt=4.log.trigger*")
        return "".join(log.read_text() for log in logs)

    def is_in(state: str, tries: int) -> bool:
        return [row[:2] for row in task()] == [(state, tries)]

    airflow.wait_until(lambda: [row[0] for row in task("daily")] == ["success"], "the scheduled run")

    # The task is killed before the answer arrives.
    sandbox.control.fault("create_export", "delay", processed=True, seconds=60, times=1)
    airflow.trigger("by_hand")
    airflow.wait_until(lambda: len(names(sandbox, "by-hand")) == 1, "the first job")
    ((_, _, pid),) = task()
    assert pid
    os.kill(pid, signal.SIGKILL)
    airflow.wait_until(lambda: is_in("success", 2), "the retry")
    assert len(names(sandbox, "by-hand")) == 1
    ((job_id,),) = airflow.rows("SELECT value #>> '{}' FROM xcom WHERE dag_id = 'by_hand' AND key = 'return_value'")
    assert job_id in {job["id"] for job in sandbox.control.jobs()}

    # A clear exports again.
    sandbox.control.behaviour(job_stays_in="Pending")
    airflow.clear("by_hand")
    airflow.wait_until(lambda: is_in("deferred", 3), "the clear of a task that had succeeded")
    assert len(set(names(sandbox, "by-hand"))) == 2

    # Also while the task is deferred.
    airflow.clear("by_hand")
    airflow.wait_until(lambda: is_in("deferred", 4), "the clear of a deferred task")
    assert len(set(names(sandbox, "by-hand"))) == 3

    # After a manual failure its job continues, which the trigger logs; the trigger must be running for that.
    airflow.wait_until(lambda: "is Pending" in trigger_logs(), "the trigger's first poll")
    airflow.call("PATCH", "/dags/by_hand/dagRuns/by_hand-by-hand/taskInstances/export", {"new_state": "failed"})
    airflow.wait_until(lambda: is_in("failed", 4), "the manual failure")
    airflow.wait_until(lambda: "Cordial jobs cannot be cancelled" in trigger_logs(), "the log")
    airflow.clear("by_hand")
    airflow.wait_until(lambda: is_in("deferred", 5), "the clear of a task that had failed")
    assert len(set(names(sandbox, "by-hand"))) == len(names(sandbox, "by-hand")) == 4

    # Another triggerer resumes the wait.
    airflow.wait_until(lambda: [row[1] for row in airflow.rows(TRIGGER)] != [None], "a triggerer")
    ((kwargs, first),) = airflow.rows(TRIGGER)
    airflow.replace("triggerer")
    airflow.wait_until(lambda: airflow.rows(TRIGGER)[0][1] not in (None, first), "the other triggerer")
    assert airflow.rows(TRIGGER)[0][0] == kwargs
    sandbox.control.behaviour(job_stays_in=None)
    airflow.wait_until(lambda: is_in("success", 5), "the end")

    # A reprocessing backfill exports again.
    before = names(sandbox, "daily")
    airflow.call(
        "POST",
        "/backfills",
        {
            "dag_id": "daily",
            "from_date": "2026-11-11T00:00:00Z",
            "to_date": "2026-11-12T00:00:00Z",
            "reprocess_behavior": "completed",
        },
    )
    airflow.wait_until(lambda: len(names(sandbox, "daily")) == len(before) + 1, "the backfill's job")
    airflow.wait_until(lambda: [row[0] for row in task("daily")] == ["success"], "the backfill")
    assert len(set(names(sandbox, "daily"))) == len(before) + 1 == 2
