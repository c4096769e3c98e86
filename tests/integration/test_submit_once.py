"""One job per submission in a whole Airflow: each row of the table of retry and clear in docs/submit-once.md."""

from __future__ import annotations

import json
import os
import shutil
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

DAGS = Path(__file__).parent / "dags" / "submit_once"


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    """A copy of the DAGs, to be edited."""
    return shutil.copytree(DAGS, tmp_path / "dags", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def airflow(tmp_path: Path, postgres: Postgres, sandbox: SandboxProcess, dags: Path) -> Iterator[Airflow]:
    cordial = {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key}
    nowhere = {"conn_type": "sftp", "host": "127.0.0.1", "port": 9, "login": "x", "password": "unused-password"}
    environment = {
        "AIRFLOW_CONN_CORDIAL_DEFAULT": json.dumps(cordial),
        "AIRFLOW_CONN_NOWHERE": json.dumps(nowhere),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": POLL_INTERVAL,
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    }
    with Airflow(tmp_path / "airflow", postgres.with_database("submit_once"), dags, environment) as airflow:
        airflow.wait_until_ready("by_hand")
        yield airflow


class Tasks:
    """The export tasks of the DAGs, and the names of their jobs."""

    def __init__(self, airflow: Airflow, sandbox: SandboxProcess) -> None:
        self._airflow = airflow
        self._sandbox = sandbox

    def names(self, dag_id: str, task_id: str = "export") -> list[str]:
        """Return the names of the task's jobs, in the order of their submission."""
        prefix = f"{dag_id.replace('_', '-')}-{task_id}-"
        newest_first = [job["name"] for job in self._sandbox.control.jobs() if job["name"].startswith(prefix)]
        return newest_first[::-1]

    def wait_for(self, dag_id: str, state: str, try_number: int, task_id: str = "export") -> None:
        query = "SELECT state, try_number FROM task_instance WHERE dag_id = %s AND task_id = %s"
        self._airflow.wait_until(
            lambda: self._airflow.rows(query, dag_id, task_id) == [(state, try_number)],
            f"{dag_id}.{task_id} is {state} at try {try_number}",
        )

    def wait_for_jobs(self, dag_id: str, count: int) -> None:
        self._airflow.wait_until(lambda: len(self.names(dag_id)) == count, f"{count} jobs of {dag_id}")

    def pid(self, dag_id: str) -> int:
        ((pid,),) = self._airflow.rows("SELECT pid FROM task_instance WHERE dag_id = %s AND task_id = 'export'", dag_id)
        assert pid
        return int(pid)

    def max_tries(self, dag_id: str) -> int:
        ((number,),) = self._airflow.rows(
            "SELECT max_tries FROM task_instance WHERE dag_id = %s AND task_id = 'export'", dag_id
        )
        return int(number)


def edit(airflow: Airflow, dags: Path, old: str, new: str) -> None:
    """Edit the DAG file, and wait until Airflow has read it."""
    query = "SELECT max(version_number) FROM dag_version WHERE dag_id = 'edited'"
    versions = airflow.rows(query)
    path = dags / "submit_once.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    airflow.wait_until(lambda: airflow.rows(query) != versions, "the edited DAG")


@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(600)
def test_each_row_of_the_table_of_retry_and_clear(airflow: Airflow, sandbox: SandboxProcess, dags: Path) -> None:
    tasks = Tasks(airflow, sandbox)

    def trigger_logs() -> str:
        return "".join(log.read_text() for log in airflow.home.rglob("attempt=4.log.trigger*"))

    # At the start a try may fail because the API does not answer yet.
    airflow.wait_until(lambda: airflow.states().get("daily") == ["success"], "the scheduled run")

    # A retry: the task is killed before the answer arrives, and resumes its job.
    sandbox.control.fault("create_export", "delay", processed=True, seconds=60, times=1)
    airflow.trigger("by_hand")
    tasks.wait_for_jobs("by_hand", 1)
    os.kill(tasks.pid("by_hand"), signal.SIGKILL)
    for dag_id in ("failing", "edited"):
        airflow.trigger(dag_id)
    tasks.wait_for("by_hand", "success", 2)
    assert len(tasks.names("by_hand")) == 1
    ((job_id,),) = airflow.rows("SELECT value #>> '{}' FROM xcom WHERE dag_id = 'by_hand' AND key = 'return_value'")
    assert job_id in {job["id"] for job in sandbox.control.jobs()}

    # A retry after a Failed job exports again, and so does a clear after the last try.
    tasks.wait_for("failing", "failed", 2)
    (failed, second) = tasks.names("failing")
    assert second == f"{failed}-2"
    tasks.wait_for("edited", "success", 1)

    # From here on jobs stay live. The clear of a task that has finished with a Done job exports again.
    edit(airflow, dags, "EDITED_RETRIES = 1", "EDITED_RETRIES = 0")
    sandbox.control.behaviour(job_stays_in="Pending")
    airflow.clear("by_hand")
    for dag_id in ("in_worker", "neighbors"):
        airflow.trigger(dag_id)
    tasks.wait_for("by_hand", "deferred", 3)
    assert len(set(tasks.names("by_hand"))) == 2

    # The clear of another task while this one waits for its retry.
    tasks.wait_for("neighbors", "up_for_retry", 1)
    tasks.wait_for("neighbors", "success", 1, "neighbor")
    airflow.clear("neighbors", task_ids=["neighbor"])
    tasks.wait_for("neighbors", "success", 2, "neighbor")

    # A clear exports again also with fewer retries than before, although max_tries then stays the same.
    before = tasks.max_tries("edited")
    airflow.clear("edited", run_on_latest_version=True)
    tasks.wait_for("edited", "deferred", 2)
    assert tasks.max_tries("edited") == before
    assert len(set(tasks.names("edited"))) == 2

    # The clear of a deferred task, whose job is live, resumes it.
    airflow.clear("by_hand")
    tasks.wait_for("by_hand", "deferred", 4)

    # So does the clear of a running task.
    tasks.wait_for_jobs("in_worker", 1)
    tasks.wait_for("in_worker", "running", 1)
    airflow.clear("in_worker")
    tasks.wait_for("in_worker", "running", 2)

    # After a manual failure the job continues, which the trigger logs; the trigger must be running for that.
    airflow.wait_until(lambda: "is Pending" in trigger_logs(), "the trigger's first poll")
    airflow.call("PATCH", "/dags/by_hand/dagRuns/by_hand-by-hand/taskInstances/export", {"new_state": "failed"})
    tasks.wait_for("by_hand", "failed", 4)
    airflow.wait_until(lambda: "Cordial jobs cannot be cancelled" in trigger_logs(), "the log")
    airflow.clear("by_hand")
    tasks.wait_for("by_hand", "deferred", 5)
    assert len(tasks.names("by_hand")) == 2

    # Other parameters export again, and the live job continues.
    edit(airflow, dags, 'AUDIENCES = ["opened_last_30_days"]', 'AUDIENCES = ["purchased_last_30_days"]')
    airflow.clear("edited", run_on_latest_version=True)
    tasks.wait_for("edited", "deferred", 3)
    assert len(set(tasks.names("edited"))) == 3

    # Another triggerer resumes the waits.
    airflow.wait_until(lambda: None not in [row[1] for row in airflow.rows(TRIGGER)], "a triggerer")
    first = {json.dumps(kwargs): triggerer for kwargs, triggerer in airflow.rows(TRIGGER)}
    airflow.replace("triggerer")
    airflow.wait_until(
        lambda: all(row[1] not in (None, *first.values()) for row in airflow.rows(TRIGGER)), "the other triggerer"
    )
    assert {json.dumps(kwargs) for kwargs, _ in airflow.rows(TRIGGER)} == set(first)

    # All of them end, each with the job that it has resumed.
    sandbox.control.behaviour(job_stays_in=None)
    airflow.clear("failing")
    for dag_id, try_number in {"by_hand": 5, "in_worker": 2, "edited": 3}.items():
        tasks.wait_for(dag_id, "success", try_number)
    airflow.wait_until(
        lambda: airflow.rows("SELECT state FROM task_instance WHERE dag_id = 'neighbors'") == [("success",)] * 2,
        "the neighbors",
    )
    counts = {dag_id: len(tasks.names(dag_id)) for dag_id in ("by_hand", "in_worker", "edited", "neighbors")}
    assert counts == {"by_hand": 2, "in_worker": 1, "edited": 3, "neighbors": 1}
    assert len(set(tasks.names("neighbors", "neighbor"))) in (1, 2)
    tasks.wait_for("failing", "failed", 4)
    third, fourth = tasks.names("failing")[2:]
    assert third not in (failed, second)
    assert fourth == f"{third}-2"

    # A reprocessing backfill exports again.
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
    tasks.wait_for_jobs("daily", 2)
    airflow.wait_until(lambda: airflow.states()["daily"] == ["success"], "the backfill")
    assert len(set(tasks.names("daily"))) == 2
