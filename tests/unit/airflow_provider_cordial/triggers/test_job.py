"""The trigger of a job: its one event, whatever happens."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import InvalidConnectionError, InvalidParameterError, JobTimeoutError
from airflow_provider_cordial.jobs.events import parse_event
from airflow_provider_cordial.triggers.export_job import DEFAULT_WATCH_INTERVAL, ExportJobTrigger
from airflow_provider_cordial.triggers.job import JobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import SetConnection
from tests.helpers.waits import run_trigger, submit_job


def test_a_restarted_trigger_polls_once_past_its_deadline(cordial: SandboxProcess) -> None:
    job_id = submit_job(cordial, job_stays_in="Pending")
    started = time.monotonic()
    event = run_trigger(JobTrigger("cordial_default", job_id, 5.0, time.time() - 100))
    assert time.monotonic() - started < 2
    with pytest.raises(JobTimeoutError, match="last status was Pending"):
        parse_event(event, job_id)
    cordial.control.behaviour(job_stays_in=None, job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Done":
        time.sleep(0.02)
    assert parse_event(run_trigger(JobTrigger("cordial_default", job_id, 5.0, time.time() - 100)), job_id).is_done


def test_a_silent_server_does_not_delay_the_deadline(cordial: SandboxProcess) -> None:
    job_id = submit_job(cordial, job_stays_in="Pending")
    cordial.control.fault("get_job", "delay", seconds=30)
    started = time.monotonic()
    connection_timeout = 10
    event = run_trigger(JobTrigger("cordial_default", job_id, 0.1, time.time() + 1))
    assert time.monotonic() - started < connection_timeout + 5
    with pytest.raises(JobTimeoutError, match="could never be read"):
        parse_event(event, job_id)


@pytest.mark.parametrize(
    "connection", [None, {"conn_type": "cordial"}, {"conn_type": "cordial", "password": "KEY-1", "host": "ftp://x"}]
)
def test_an_invalid_connection_becomes_the_event(
    set_connection: SetConnection, connection: dict[str, Any] | None
) -> None:
    if connection:
        set_connection("broken", **connection)
    event = run_trigger(JobTrigger("broken", "j1", 0.1, time.time() + 5))
    with pytest.raises(InvalidConnectionError):
        parse_event(event, "j1")
    assert "KEY-1" not in str(event)


def test_odd_or_missing_arguments_do_not_raise() -> None:
    assert JobTrigger().serialize()[1]["job_id"] == ""
    with pytest.raises(TypeError):
        JobTrigger(unknown=1)  # type: ignore[call-arg]
    odd = JobTrigger(None, object(), "soon", [])  # type: ignore[arg-type]
    assert odd.serialize()[1]["poll_interval"] == "soon"


def test_killing_the_task_logs_that_the_job_continues(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(JobTrigger("cordial_default", "j1").on_kill())
    assert "job j1 continues: Cordial jobs cannot be cancelled" in capsys.readouterr().out


@pytest.mark.parametrize("interval", [0, 0.0, -1, float("nan"), float("inf"), True, "soon", None])
def test_a_stored_row_with_a_bad_interval_ends_with_an_error(cordial: SandboxProcess, interval: Any) -> None:
    event = run_trigger(JobTrigger("cordial_default", "j1", interval, time.time() + 5))
    with pytest.raises(InvalidParameterError, match="Invalid poll interval"):
        parse_event(event, "j1")
    assert cordial.control.requests() == []


@pytest.mark.parametrize("deadline", [float("nan"), float("inf"), "soon", None])
def test_a_stored_row_with_a_bad_deadline_ends_with_an_error(cordial: SandboxProcess, deadline: Any) -> None:
    event = run_trigger(JobTrigger("cordial_default", "j1", 1.0, deadline))
    with pytest.raises(InvalidParameterError, match="or deadline"):
        parse_event(event, "j1")


def test_a_bad_interval_of_a_watcher_is_logged_and_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    trigger = ExportJobTrigger(poll_interval=0)
    assert trigger._interval() == DEFAULT_WATCH_INTERVAL
    assert "Invalid poll_interval 0: expected a number of seconds above 0" in capsys.readouterr().out


#: As the database has them: rows outlive an upgrade.
STORED: list[tuple[str, dict[str, Any]]] = [
    (
        "airflow_provider_cordial.triggers.job.JobTrigger",
        {"cordial_conn_id": "cordial_eu", "job_id": "j1", "poll_interval": 30.0, "deadline": 1764000000.5},
    ),
    (
        "airflow_provider_cordial.triggers.export_job.ExportJobTrigger",
        {"cordial_conn_id": "cordial_eu", "name_prefix": "weekly-", "job_name": None, "poll_interval": 60.0},
    ),
]


@pytest.mark.parametrize(("path", "arguments"), STORED)
def test_a_stored_row_still_loads(path: str, arguments: dict[str, Any]) -> None:
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**arguments)
    assert trigger.serialize() == (path, arguments)
