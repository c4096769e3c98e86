"""JobTrigger always ends with exactly one event; no stored row can crash a triggerer."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import InvalidConnectionError, InvalidParameterError, JobTimeoutError
from airflow_provider_cordial.jobs import account
from airflow_provider_cordial.jobs.events import parse_event
from airflow_provider_cordial.triggers.export_job import ExportJobTrigger
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
    event = run_trigger(JobTrigger("cordial_default", job_id, 0.1, time.time() + 1))
    assert time.monotonic() - started < 10 + 5  # the timeout of the connection, and a margin
    with pytest.raises(JobTimeoutError, match="could never be read"):
        parse_event(event, job_id)


@pytest.mark.parametrize(
    "connection", [None, {"conn_type": "cordial"}, {"conn_type": "cordial", "password": "KEY-1", "host": "ftp://x"}]
)
def test_an_invalid_connection_becomes_the_event(
    set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any] | None
) -> None:
    monkeypatch.setattr(account, "MISSING_GRACE", 0.2)
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


@pytest.mark.parametrize(
    "interval", [0, 0.0, -1, float("nan"), float("inf"), True, "soon", None, 10**400], ids=lambda value: str(value)[:10]
)
def test_a_stored_row_with_a_bad_interval_ends_with_an_error(cordial: SandboxProcess, interval: Any) -> None:
    event = run_trigger(JobTrigger("cordial_default", "j1", interval, time.time() + 5))
    with pytest.raises(InvalidParameterError, match="Invalid poll interval"):
        parse_event(event, "j1")
    assert cordial.control.requests() == []


@pytest.mark.parametrize(
    "deadline", [float("nan"), float("inf"), True, "soon", None, 10**400], ids=lambda value: str(value)[:10]
)
def test_a_stored_row_with_a_bad_deadline_ends_with_an_error(cordial: SandboxProcess, deadline: Any) -> None:
    event = run_trigger(JobTrigger("cordial_default", "j1", 1.0, deadline))
    with pytest.raises(InvalidParameterError, match="(?s)Invalid deadline .*: expected seconds since the epoch"):
        parse_event(event, "j1")
    assert cordial.control.requests() == []


@pytest.mark.parametrize("deadline", [0, -1, -1e300])
def test_a_deadline_in_the_past_costs_one_poll(cordial: SandboxProcess, deadline: float) -> None:
    job_id = submit_job(cordial, job_stays_in="Pending")
    cordial.control.clear_requests()
    event = run_trigger(JobTrigger("cordial_default", job_id, 1.0, deadline))
    with pytest.raises(JobTimeoutError, match="last status was Pending"):
        parse_event(event, job_id)
    assert len(cordial.control.requests()) == 1


@pytest.mark.parametrize(
    "interval", [0, -1, float("nan"), float("inf"), True, "soon", None, 10**400], ids=lambda value: str(value)[:10]
)
def test_a_watcher_replaces_a_bad_interval_and_logs_it_once(
    cordial: SandboxProcess, capsys: pytest.CaptureFixture[str], interval: Any
) -> None:
    async def watch() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                async for _ in ExportJobTrigger(poll_interval=interval).run():
                    pass

    asyncio.run(watch())
    expected = f"Invalid poll_interval {interval!r}: expected a number of seconds above 0"
    assert capsys.readouterr().out.count(expected) == 1
    # The default interval is far longer than this test: there is no hot loop.
    assert len(cordial.control.requests()) <= 2
