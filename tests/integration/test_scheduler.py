"""A whole Airflow with scheduler and triggerer: each kind of schedule exports its days, and no secret is written."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.faults.secret_forms import find_secrets
from tests.helpers.sandbox import sftp_connection
from tests.integration.airflow import Airflow
from tests.integration.servers.postgres import Postgres

API_KEY = 'key-of-the-test/"4711"'
SFTP_PASSWORD = "sftp-password+of=the/test&0815"
WRONG_KEY = "a-wrong-key-of-the-test"
WRONG_PASSWORD = "a-wrong-password-of-the-test"


@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(400)
def test_every_schedule_exports_its_days_and_leaves_no_secret(tmp_path: Path, postgres: Postgres) -> None:
    sandbox_data = tmp_path / "sandbox"
    with SandboxProcess(sandbox_data, job_seconds=1, api_key=API_KEY, sftp_password=SFTP_PASSWORD) as sandbox:
        warehouse = tmp_path / "warehouse.db"
        environment = {
            f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields)
            for name, fields in connections(sandbox, warehouse).items()
        }
        # Longer than the scheduler needs to record a deferral: otherwise Airflow fails the tasks, and retries them.
        environment["AIRFLOW__CORDIAL__POLL_INTERVAL"] = "15"
        started = datetime.now(ZoneInfo("America/Los_Angeles"))
        with Airflow(
            tmp_path / "airflow",
            postgres.with_database("airflow"),
            Path(__file__).parent / "dags" / "schedules",
            environment,
        ) as airflow:
            airflow.wait_until_ready("explicit")
            for dag_id in ("at_run_time", "by_hand", "ranges", "wrong_key", "wrong_sftp", "approved", "rejected"):
                airflow.trigger(dag_id)
            airflow.trigger("explicit", start="2026-03-01", end="2026-03-31")
            for dag_id in ("approved", "rejected"):
                wait_for_request(airflow, dag_id)
            for dag_id, answer in (("approved", "Approve"), ("rejected", "Reject")):
                decide(airflow, dag_id, answer)
            runs = {"cron": 2, "interval": 2, "weeks": 1, "partition": 2, "by_asset": 1, "by_hand": 1, "explicit": 1}
            runs |= {"at_run_time": 1, "of_days": 3, "ranges": 1, "approved": 1}
            expected = {dag_id: ["success"] * count for dag_id, count in runs.items()}
            failed = {dag_id: ["failed"] for dag_id in ("wrong_key", "wrong_sftp", "rejected")}
            airflow.wait_for(expected | failed, 300)
            states = dict(airflow.rows("SELECT task_id, state FROM task_instance WHERE dag_id = 'rejected'"))
            assert states == {
                "keep.plan": "success",
                "keep.approve": "success",
                "keep.sync": "skipped",
                "keep.verify": "failed",
            }
            tries = airflow.rows("SELECT try_number FROM task_instance WHERE dag_id = 'wrong_key'")
            assert tries == [(1,)], "an error that a retry cannot help is not retried"
        jobs = sandbox.control.jobs()
        expected_rows = [
            (audience, one["date"], one["contacts"])
            for audience in ('Käufer, "Gold"', "opened_last_30_days")
            for one in sandbox.control.snapshots(audience=audience, start="2026-11-10", end="2026-11-11")
        ]

    def exported_days(dag_id: str) -> list[tuple[str, str]]:
        prefix = dag_id.replace("_", "-") + "-"
        return sorted(
            (job["selected_timeframe_start"], job["selected_timeframe_end"])
            for job in jobs
            if job["name"].startswith(prefix)
        )

    assert {job["status"] for job in jobs if not job["name"].startswith("wrong-sftp")} == {"Done"}
    assert [job["reason"] for job in jobs if job["name"].startswith("wrong-sftp")] == ["Login failed."]
    assert len(jobs) == 18
    assert exported_days("approved") == [("2026-05-01", "2026-05-03")]
    assert exported_days("cron") == [("2026-11-10", "2026-11-10"), ("2026-11-11", "2026-11-11")]
    assert exported_days("interval") == [("2026-11-10", "2026-11-10"), ("2026-11-11", "2026-11-11")]
    assert exported_days("weeks") == [("2026-11-02", "2026-11-08")]
    assert exported_days("partition") == [("2026-11-10", "2026-11-10"), ("2026-11-11", "2026-11-11")]
    today = started.date()
    assert exported_days("by_hand") == [(str(today - timedelta(days=2)), str(today - timedelta(days=1)))]
    assert exported_days("by_asset") == [(str(today - timedelta(days=3)), str(today - timedelta(days=1)))]
    assert exported_days("at_run_time") == [("2026-02-01", "2026-02-03")]
    # Each partition that was found at run time is a day, and has its own run.
    assert exported_days("of_days") == [(f"2026-02-0{day}", f"2026-02-0{day}") for day in (1, 2, 3)]
    assert exported_days("ranges") == [("2026-02-01", "2026-02-02"), ("2026-02-03", "2026-02-03")]
    assert exported_days("explicit") == [("2026-03-01", "2026-03-31")]
    with closing(sqlite3.connect(warehouse)) as connection:
        rows = connection.execute(
            "SELECT audience, snapshot_date, contacts FROM audience_trends ORDER BY 1, 2"
        ).fetchall()
    assert rows == expected_rows

    texts = list(airflow.texts())
    text = "".join(content for _, content in texts)
    # The searched texts include logs of tasks and triggerer, XComs, rendered templates, and errors.
    for mark in (
        "Submitted export",
        "is Done",
        '"sftp_default"',
        "Found exports/",
        "Check the API key",
        "Login failed.",
    ):
        assert mark in text, mark
    assert any(".log.trigger." in place for place, _ in texts)
    secrets = {
        "API key": API_KEY,
        "SFTP password": SFTP_PASSWORD,
        "wrong API key": WRONG_KEY,
        "wrong SFTP password": WRONG_PASSWORD,
    }
    assert list(find_secrets(texts, secrets)) == []


def wait_for_request(airflow: Airflow, dag_id: str) -> None:
    query = "SELECT state FROM task_instance WHERE dag_id = %s AND task_id = 'keep.approve'"
    waits = ("awaiting_input", "deferred")  # deferred before Airflow 3.3
    airflow.wait_until(lambda: any(state in waits for (state,) in airflow.rows(query, dag_id)), "a request", 200)
    # Airflow fails a task whose request is answered before the scheduler has noted the end of its process.
    noted = f"TaskInstance Finished: dag_id={dag_id}, task_id=keep.approve"
    log = airflow.home / "standalone.log"
    airflow.wait_until(lambda: noted in log.read_text(errors="replace"), "the end of the process", 100)


def decide(airflow: Airflow, dag_id: str, answer: str) -> None:
    """Answer the request to approve a plan, as a person does in the UI."""
    detail = f"/dags/{dag_id}/dagRuns/{dag_id}-by-hand/taskInstances/keep.approve/-1/hitlDetails"
    assert "1 export of 2 audiences, 2026-05-01 to 2026-05-03" in str(airflow.call("GET", detail)["body"])
    airflow.call("PATCH", detail, {"chosen_options": [answer], "params_input": {}})


def connections(sandbox: SandboxProcess, warehouse: Path) -> dict[str, dict[str, object]]:
    cordial: dict[str, object] = {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key}
    sftp = sftp_connection(sandbox)
    return {
        "cordial_default": cordial,
        "cordial_wrong": {**cordial, "password": WRONG_KEY},
        "sftp_default": sftp,
        "sftp_wrong": {**sftp, "password": WRONG_PASSWORD},
        "warehouse": {"conn_type": "sqlite", "host": str(warehouse)},
    }
