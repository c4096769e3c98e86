"""Waits and watchers in a whole Airflow: the requests of its triggerer, and the start of a DAG."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_cordial.triggers.export_job import REPORTED_AFTER
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body, sftp_connection, sftp_destination
from tests.integration.airflow import Airflow
from tests.integration.servers.postgres import Postgres

#: No event fires before the jobs end, so this can be shorter than the scheduler needs to record a deferral.
POLL_INTERVAL = 2.0

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def airflow(tmp_path: Path, postgres: Postgres, sandbox: SandboxProcess) -> Iterator[Airflow]:
    cordial = {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key}
    environment = {
        "AIRFLOW_CONN_CORDIAL_DEFAULT": json.dumps(cordial),
        "AIRFLOW_CONN_SFTP_DEFAULT": json.dumps(sftp_connection(sandbox)),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": str(POLL_INTERVAL),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }
    dags = tmp_path / "dags"
    shutil.copytree(Path(__file__).parent / "dags" / "waits", dags)
    example = (PROJECT / "example_dags" / "example_export_done.py").read_text()
    assert "poll_interval=30" in example
    (dags / "example_export_done.py").write_text(example.replace("poll_interval=30", "poll_interval=3"))
    with Airflow(tmp_path / "airflow", postgres.with_database("waits"), dags, environment) as airflow:
        airflow.wait_until_ready("waits")
        airflow.wait_until_ready("example_export_done")
        yield airflow


@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(400)
def test_many_waits_share_requests_and_an_export_starts_a_dag(airflow: Airflow, sandbox: SandboxProcess) -> None:
    sandbox.control.behaviour(job_stays_in="Processing")

    def states(dag_id: str, task_id: str) -> list[str]:
        query = "SELECT state FROM task_instance WHERE dag_id = %s AND task_id = %s AND map_index >= 0"
        return [state for (state,) in airflow.rows(query, dag_id, task_id)]

    def count_requests(more: int, waits: int) -> int:
        """Start more waits, and return the number of requests in four intervals for all waits."""
        job_ids = sandbox.control.add_jobs(more, shortest=1.0, longest=1.0)
        airflow.call(
            "POST",
            "/dags/waits/dagRuns",
            {"dag_run_id": f"waits-{waits}", "logical_date": None, "conf": {"job_ids": " ".join(job_ids)}},
        )
        airflow.wait_until(lambda: states("waits", "wait") == ["deferred"] * waits, f"{waits} deferred waits", 180)
        # A new wait is looked up singly at first.
        time.sleep(2 * POLL_INTERVAL)
        sandbox.control.clear_requests()
        time.sleep(4 * POLL_INTERVAL)
        return len(sandbox.control.requests())

    few, many = count_requests(3, 3), count_requests(15, 18)
    # The watcher of the example polls as well: one page per interval.
    assert 4 <= few <= 14
    assert many <= few + 3

    sandbox.control.behaviour(job_stays_in=None)
    airflow.wait_until(lambda: states("waits", "wait") == ["success"] * 18, "18 waits that ended", 180)

    for name in ("weekly-1", "daily-1", "weekly-2"):
        export(sandbox, name)

    def events() -> list[str]:
        rows = airflow.rows("SELECT extra FROM asset_event ORDER BY id")
        return [job["name"] for (extra,) in rows for job in extra["payload"]["jobs"]]

    def picked_up() -> dict[str, int]:
        rows = airflow.rows("SELECT value FROM xcom WHERE dag_id = 'example_export_done' AND key = 'return_value'")
        return {name: size for (value,) in rows for name, size in value.items()}

    airflow.wait_until(lambda: len(picked_up()) == 2, "the files of two exports")
    # Within that time the event could fire again.
    time.sleep(REPORTED_AFTER + 2)
    airflow.replace("triggerer")
    export(sandbox, "weekly-3")
    airflow.wait_until(lambda: len(picked_up()) == 3, "the file of a third, after the triggerer was replaced")
    folder = sandbox.sftp.root / "exports"
    assert picked_up() == {f"weekly-{n}": (folder / f"weekly-{n}.csv").stat().st_size for n in (1, 2, 3)}
    time.sleep(2 * POLL_INTERVAL)
    assert sorted(events()) == ["weekly-1", "weekly-2", "weekly-3"]
    for where, text in airflow.texts():
        assert sandbox.api_key not in text, where


def export(sandbox: SandboxProcess, name: str) -> None:
    """Export as a person does in Cordial's UI."""
    import requests

    body = export_body(name=name, destination=sftp_destination(sandbox))
    answer = requests.post(f"{sandbox.url}/v2/audiencetrendsexport", json=body, auth=(sandbox.api_key, ""), timeout=10)
    assert answer.status_code == 200, answer.text
