"""The job sensor and its trigger: every mode, every end of a job, and every way in which a wait can go wrong."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred

from airflow_provider_cordial._compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    AwaitedJobFailedError,
    BadEventError,
    CordialError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    SensorJobTimeoutError,
    SensorUnknownJobStatusError,
    UnknownJobStatusError,
)
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.jobs import waiting
from airflow_provider_cordial.sensors.job import JobSensor
from airflow_provider_cordial.triggers.job import JobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import SetConnection, export_body


def submitted(sandbox: SandboxProcess, **behaviour: Any) -> str:
    """A new job in a sandbox that behaves so."""
    sandbox.control.behaviour(**behaviour)
    return CordialHook().create_audience_trends_export(export_body())


def context(first_reschedule: datetime | None = None) -> Any:
    return {"ti": SimpleNamespace(get_first_reschedule_date=lambda _: first_reschedule)}


def sensor(job_id: str, **options: Any) -> JobSensor:
    return JobSensor(**{"task_id": "wait", "job_id": job_id, "poke_interval": 0.05, "timeout": 10, **options})


def run_trigger(trigger: JobTrigger) -> Any:
    """Run a trigger as the triggerer does, made anew from its row, and return its one event."""
    path, kwargs = trigger.serialize()
    assert path == f"{JobTrigger.__module__}.{JobTrigger.__qualname__}"

    async def events() -> list[Any]:
        return [event.payload async for event in JobTrigger(**kwargs).run()]

    (event,) = asyncio.run(events())
    return event


def wait(job_id: str, **options: Any) -> Any:
    """Wait in the chosen mode to the end, as Airflow would."""
    task = sensor(job_id, **options)
    rescheduled: datetime | None = None
    while True:
        try:
            return task.execute(context(rescheduled))
        except TaskDeferred as deferred:
            event = run_trigger(cast("JobTrigger", deferred.trigger))
            return sensor(job_id, **options).resume_execution(deferred.method_name, {"event": event}, context())
        except AirflowRescheduleException as later:
            rescheduled = rescheduled or datetime.now(UTC)
            time.sleep(max(0.0, (later.reschedule_date - datetime.now(UTC)).total_seconds()))
            task = sensor(job_id, **options)


MODES = [
    pytest.param({"mode": "poke"}, id="poke"),
    pytest.param({"mode": "reschedule"}, id="reschedule"),
    pytest.param({"deferrable": True}, id="deferrable"),
]
every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
def test_it_returns_the_last_record_of_a_done_job(cordial: SandboxProcess, mode: dict[str, Any]) -> None:
    job_id = submitted(cordial, job_seconds=0.4)
    record = wait(job_id, **mode)
    assert (record["jobId"], record["status"], record["metadata"]["name"]) == (job_id, "Done", "trends-1")


@every_mode
def test_a_failed_job_fails_the_task_for_good_with_all_that_cordial_says(
    cordial: SandboxProcess, mode: dict[str, Any]
) -> None:
    job_id = submitted(cordial, job_fails_with="Login failed.", job_seconds=0.3)
    with pytest.raises(AwaitedJobFailedError, match=r"Failed.*trends-1.*Login failed\.") as failed:
        wait(job_id, **mode)
    assert isinstance(failed.value, AirflowFailException)
    assert failed.value.job is not None
    assert failed.value.job.is_failed


@every_mode
def test_a_job_may_appear_late_but_not_later_than_the_grace_period(
    cordial: SandboxProcess, set_connection: SetConnection, mode: dict[str, Any]
) -> None:
    assert wait(submitted(cordial, visible_after=0.5), **mode)["status"] == "Done"
    set_connection(
        "cordial_default",
        conn_type="cordial",
        host=cordial.url,
        password=cordial.api_key,
        extra={"not_found_grace": 0.3},
    )
    started = time.monotonic()
    with pytest.raises(JobNotFoundError, match="'?nope'? is not known to Cordial .* same account"):
        wait("nope", **mode)
    assert 0.25 < time.monotonic() - started < 3


@every_mode
@pytest.mark.parametrize(
    ("status", "error"), [("Throttled", SensorJobTimeoutError), ("Reticulating", SensorUnknownJobStatusError)]
)
def test_a_timeout_names_the_last_status(
    cordial: SandboxProcess, mode: dict[str, Any], status: str, error: type[JobTimeoutError]
) -> None:
    job_id = submitted(cordial, job_stays_in=status)
    with pytest.raises(error, match=status) as late:
        wait(job_id, timeout=0.4, **mode)
    assert isinstance(late.value, AirflowSensorTimeout)
    assert isinstance(late.value, UnknownJobStatusError) is (status == "Reticulating")


@every_mode
@pytest.mark.parametrize("trouble", ["failed", "late", "unknown", "unauthorized"])
def test_soft_fail_skips_whatever_the_error(
    cordial: SandboxProcess, set_connection: SetConnection, mode: dict[str, Any], trouble: str
) -> None:
    job_id, timeout = submitted(cordial), 10.0
    match trouble:
        case "failed":
            job_id = submitted(cordial, job_fails_with="Login failed.")
        case "late":
            job_id, timeout = submitted(cordial, job_stays_in="Pending"), 0.3
        case "unknown" | "unauthorized":
            password = cordial.api_key if trouble == "unknown" else "wrong-key-123"
            extra = {"not_found_grace": 0.2}
            set_connection("cordial_default", conn_type="cordial", host=cordial.url, password=password, extra=extra)
            job_id = "nope"
    with pytest.raises(AirflowSkipException):
        wait(job_id, soft_fail=True, timeout=timeout, **mode)


@every_mode
def test_never_fail_skips_also_when_the_first_look_fails(cordial: SandboxProcess, mode: dict[str, Any]) -> None:
    job_id = submitted(cordial, job_fails_with="Login failed.", job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Failed":
        time.sleep(0.02)
    with pytest.raises(AirflowSkipException, match="never_fail is set"):
        wait(job_id, never_fail=True, **mode)


@every_mode
def test_what_may_pass_does_not_end_a_wait(cordial: SandboxProcess, mode: dict[str, Any]) -> None:
    job_id = submitted(cordial, job_seconds=0.5)
    for fault in (
        {"effect": "answer", "status": 503},
        {"effect": "answer", "status": 429, "headers": {"Retry-After": "0"}},
        {"effect": "answer", "status": 200, "body": "<html>"},
        {"effect": "reset"},
        {"effect": "truncate"},
    ):
        cordial.control.fault("get_job", times=1, **fault)
    assert wait(job_id, timeout=30, **mode)["status"] == "Done"


@every_mode
def test_a_wrong_key_ends_a_wait_at_once(
    cordial: SandboxProcess, set_connection: SetConnection, mode: dict[str, Any]
) -> None:
    job_id = submitted(cordial)
    set_connection("cordial_default", conn_type="cordial", host=cordial.url, password="wrong-key-123")
    with pytest.raises(AuthenticationError, match="addresses of workers and of triggerers"):
        wait(job_id, **mode)


def test_a_rescheduled_task_comes_back_when_cordial_lets_it(cordial: SandboxProcess) -> None:
    job_id = submitted(cordial, job_stays_in="Pending")

    def comes_back_in(**options: Any) -> float:
        with pytest.raises(AirflowRescheduleException) as later:
            sensor(job_id, mode="reschedule", timeout=3600, **options).execute(context())
        return float((later.value.reschedule_date - datetime.now(UTC)).total_seconds())

    assert 8 < comes_back_in(poke_interval=300) <= 10
    cordial.control.fault("get_job", "answer", status=429, headers={"Retry-After": "500"}, times=2)
    assert 499 < comes_back_in() <= 500
    assert 499 < comes_back_in(exponential_backoff=True) <= 500


def test_a_job_that_is_done_already_is_not_deferred(cordial: SandboxProcess) -> None:
    job_id = submitted(cordial, job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Done":
        time.sleep(0.02)
    assert sensor(job_id, deferrable=True).execute(context())["status"] == "Done"


def test_the_triggers_row_holds_ids_and_numbers_only(cordial: SandboxProcess) -> None:
    job_id = submitted(cordial, job_stays_in="Pending")
    started = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        sensor(job_id, deferrable=True, timeout=60).execute(context())
    _, kwargs = deferred.value.trigger.serialize()
    assert {**kwargs, "deadline": None} == {
        "cordial_conn_id": "cordial_default",
        "job_id": job_id,
        "poll_interval": 0.05,
        "deadline": None,
    }
    assert started + 60 <= kwargs["deadline"] <= time.time() + 60
    assert cordial.api_key not in repr(deferred.value.trigger)
    assert deferred.value.timeout > timedelta(seconds=60)


def test_where_airflow_gives_up_on_the_trigger_the_job_is_looked_at(cordial: SandboxProcess) -> None:
    job_id = submitted(cordial, job_stays_in="Processing")
    given_up = ("__fail__", {"error": "Trigger timeout"}, context())
    with pytest.raises(AirflowSensorTimeout, match="last status was Processing"):
        sensor(job_id, deferrable=True).resume_execution(*given_up)
    with pytest.raises(AirflowSkipException, match="last status was Processing"):
        sensor(job_id, deferrable=True, soft_fail=True).resume_execution(*given_up)
    cordial.control.behaviour(job_stays_in=None, job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Done":
        time.sleep(0.02)
    assert sensor(job_id, deferrable=True).resume_execution(*given_up)["status"] == "Done"


def test_the_deadline_is_before_the_end_of_the_tasks_own_time(cordial: SandboxProcess) -> None:
    job_id = submitted(cordial, job_stays_in="Pending")
    started = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        sensor(job_id, deferrable=True, timeout=60, execution_timeout=timedelta(seconds=20)).execute(context())
    assert started + 18 <= deferred.value.trigger.serialize()[1]["deadline"] <= time.time() + 18


def test_a_bad_event_is_a_failure_and_never_a_success() -> None:
    for event in (None, {}, {"status": "success", "job_id": "other", "job": {"status": "Done"}}):
        with pytest.raises(BadEventError):
            sensor("j1", deferrable=True).execute_complete(context(), event)


# The trigger itself.


def test_a_trigger_keeps_its_deadline_over_a_restart_and_takes_one_look_past_it(cordial: SandboxProcess) -> None:
    job_id = submitted(cordial, job_stays_in="Pending")
    started = time.monotonic()
    event = run_trigger(JobTrigger("cordial_default", job_id, 5.0, time.time() - 100))
    assert time.monotonic() - started < 2
    with pytest.raises(JobTimeoutError, match="last status was Pending"):
        waiting.parse_event(event)
    cordial.control.behaviour(job_stays_in=None, job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Done":
        time.sleep(0.02)
    assert waiting.parse_event(run_trigger(JobTrigger("cordial_default", job_id, 5.0, time.time() - 100))).is_done


def test_a_server_that_does_not_answer_does_not_hold_a_trigger_past_its_deadline(cordial: SandboxProcess) -> None:
    job_id = submitted(cordial, job_stays_in="Pending")
    cordial.control.fault("get_job", "delay", seconds=30)
    started = time.monotonic()
    connection_timeout = 10
    event = run_trigger(JobTrigger("cordial_default", job_id, 0.1, time.time() + 1))
    assert time.monotonic() - started < connection_timeout + 5
    with pytest.raises(JobTimeoutError, match="could not be read even once"):
        waiting.parse_event(event)


@pytest.mark.parametrize(
    "connection", [None, {"conn_type": "cordial"}, {"conn_type": "cordial", "password": "KEY-1", "host": "ftp://x"}]
)
def test_whatever_goes_wrong_becomes_the_event(
    set_connection: SetConnection, connection: dict[str, Any] | None
) -> None:
    if connection:
        set_connection("broken", **connection)
    event = run_trigger(JobTrigger("broken", "j1", 0.1, time.time() + 5))
    with pytest.raises(CordialError):
        waiting.parse_event(event)
    assert "KEY-1" not in str(event)


def test_arguments_of_a_later_version_and_missing_ones_do_not_raise() -> None:
    assert JobTrigger().serialize()[1]["job_id"] == ""
    with pytest.raises(TypeError):
        JobTrigger(unheard_of=1)  # type: ignore[call-arg]
    odd = JobTrigger(None, object(), "soon", [])  # type: ignore[arg-type]
    assert odd.serialize()[1]["poll_interval"] == "soon"


def test_the_trigger_says_that_the_job_goes_on_when_the_task_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(JobTrigger("cordial_default", "j1").on_kill())
    assert "job j1 goes on in Cordial, which has no cancel" in capsys.readouterr().out


def test_the_waits_of_operator_and_sensor_raise_what_fits_each() -> None:
    assert issubclass(AwaitedJobFailedError, JobFailedError)
    assert not issubclass(JobFailedError, AirflowFailException)
