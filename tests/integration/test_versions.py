"""A whole Airflow of another version, with the provider's wheel: a deferred wait, loads, and a retry."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import sftp_connection
from tests.integration.airflow import Airflow
from tests.integration.servers.postgres import Postgres

DAGS = Path(__file__).parent / "dags" / "versions"
AUDIENCES = ["opened_last_30_days", "new_subscribers"]
READ = "SELECT audience, CAST(snapshot_date AS text), contacts FROM trends"


@pytest.fixture
def elephant(postgres: Postgres) -> Postgres:
    """The database that is loaded into; another one is Airflow's own."""
    return postgres.with_database("versions_loaded")


@pytest.fixture
def airflow(
    tmp_path: Path, postgres: Postgres, elephant: Postgres, sandbox: SandboxProcess, airflow_bin: Path
) -> Iterator[Airflow]:
    connections = {
        "CORDIAL_DEFAULT": {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key},
        "SFTP_DEFAULT": sftp_connection(sandbox),
        "LITE": {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")},
        "ELEPHANT": elephant.airflow_connection(),
    }
    environment = {
        **{f"AIRFLOW_CONN_{name}": json.dumps(fields) for name, fields in connections.items()},
        # Longer than the scheduler needs to record a deferral.
        "AIRFLOW__CORDIAL__POLL_INTERVAL": "5",
        # Only what is installed: the wheel.
        "PYTHONPATH": "",
    }
    with Airflow(tmp_path / "airflow", postgres.with_database("versions"), DAGS, environment, airflow_bin) as airflow:
        airflow.wait_until_ready("waits")
        yield airflow


@pytest.mark.timeout(600)
def test_it_waits_in_the_triggerer_loads_and_retries(
    airflow: Airflow, sandbox: SandboxProcess, elephant: Postgres, tmp_path: Path
) -> None:
    sandbox.control.behaviour(job_fails_with="a failure of the first job", job_seconds=1)
    airflow.trigger("retries")
    airflow.wait_until(lambda: "Failed" in statuses(sandbox), "the first job has failed")
    # Long enough that the sensor's own first poll does not end the wait.
    sandbox.control.behaviour(job_fails_with=None, job_seconds=15)
    airflow.trigger("waits")
    airflow.wait_for({"retries": ["success"], "waits": ["success"]}, timeout=300)

    assert sorted(statuses(sandbox)) == ["Done", "Done", "Failed"]
    # Airflow 3.4 has a row for each try.
    tries = "SELECT dag_id, task_id, max(try_number) FROM task_instance GROUP BY 1, 2 ORDER BY 1, 2"
    assert airflow.rows(tries) == [
        ("retries", "export", 2),
        ("retries", "load", 1),
        ("waits", "export", 1),
        ("waits", "load", 1),
        ("waits", "wait", 1),
    ]
    # The triggerer has written these logs.
    waited = {path.parent.name for path in airflow.home.rglob("*.log.trigger*")}
    assert waited == {"task_id=export", "task_id=wait"}

    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as lite:
        in_sqlite = sorted(lite.execute(READ))
    with elephant.connect() as connection:
        in_postgres = sorted(connection.execute(READ))
    assert in_sqlite == in_postgres == expected(sandbox, in_sqlite[0][1])


def statuses(sandbox: SandboxProcess) -> list[str]:
    return [job["status"] for job in sandbox.control.jobs()]


def expected(sandbox: SandboxProcess, day: str) -> list[tuple[Any, ...]]:
    """Return the account's own numbers of a day."""
    return sorted(
        (audience, day, one["contacts"])
        for audience in AUDIENCES
        for one in sandbox.control.snapshots(audience=audience, start=day, end=day)
    )
