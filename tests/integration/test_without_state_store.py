"""Submit once before Airflow 3.3, which has no task state store: the name alone finds the job of an earlier try."""

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
from tests.integration.test_submit_once import DAGS, POLL_INTERVAL, Tasks


@pytest.fixture
def airflow(tmp_path: Path, postgres: Postgres, sandbox: SandboxProcess, airflow_bin: Path) -> Iterator[Airflow]:
    cordial = {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key}
    environment = {
        "AIRFLOW_CONN_CORDIAL_DEFAULT": json.dumps(cordial),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": POLL_INTERVAL,
        "PYTHONPATH": "",
    }
    metadata = postgres.with_database("without_store")
    with Airflow(tmp_path / "airflow", metadata, DAGS, environment, airflow_bin) as airflow:
        airflow.wait_until_ready("by_hand")
        yield airflow


@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(600)
def test_a_retry_finds_its_job_and_a_clear_exports_again(airflow: Airflow, sandbox: SandboxProcess) -> None:
    tasks = Tasks(airflow, sandbox)
    airflow.wait_until(lambda: airflow.states().get("daily") == ["success"], "the scheduled run")
    sandbox.control.fault("create_export", "delay", processed=True, seconds=60, times=1)
    airflow.trigger("by_hand")
    tasks.wait_for_jobs("by_hand", 1)
    os.kill(tasks.pid("by_hand"), signal.SIGKILL)
    tasks.wait_for("by_hand", "success", 2)
    assert len(tasks.names("by_hand")) == 1

    # A clear exports again, whether the job has ended or is live.
    sandbox.control.behaviour(job_stays_in="Pending")
    airflow.clear("by_hand")
    tasks.wait_for("by_hand", "deferred", 3)
    airflow.clear("by_hand")
    tasks.wait_for("by_hand", "deferred", 4)
    sandbox.control.behaviour(job_stays_in=None)
    tasks.wait_for("by_hand", "success", 4)
    assert len(set(tasks.names("by_hand"))) == len(tasks.names("by_hand")) == 3
    assert airflow.rows("SELECT to_regclass('task_state_store')") == [(None,)]
