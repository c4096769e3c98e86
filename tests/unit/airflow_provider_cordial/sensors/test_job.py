"""The job sensor: every mode, every outcome of a job, and every failure of a wait."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred

from airflow_provider_cordial._compat import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    AwaitedJobFailedError,
    BadEventError,
    InvalidParameterError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    SensorJobTimeoutError,
    SensorUnknownJobStatusError,
    ServerError,
    UnknownJobStatusError,
)
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.sensors.job import JobSensor, for_sensor
from airflow_provider_cordial.triggers.job import JobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.helpers.raw_server import drip_the_body, raw_server
from tests.helpers.sandbox import SetConnection
from tests.helpers.waits import run_trigger, submit_job


def context(first_reschedule: datetime | None = None) -> Any:
    return {
        "ti": SimpleNamespace(get_first_reschedule_date=lambda _: first_reschedule, xcom_push=lambda **pushed: None)
    }


def sensor(job_id: str, **options: Any) -> JobSensor:
    return JobSensor(**{"task_id": "wait", "job_id": job_id, "poke_interval": 0.05, "timeout": 10, **options})


def wait(job_id: str, **options: Any) -> Any:
    """Run the sensor to its end in the chosen mode, as Airflow does."""
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
def test_the_last_record_of_a_done_job_is_returned(cordial: SandboxProcess, mode: dict[str, Any]) -> None:
    job_id = submit_job(cordial, job_seconds=0.4)
    record = wait(job_id, **mode)
    assert (record["jobId"], record["status"], record["metadata"]["name"]) == (job_id, "Done", "trends-1")


@every_mode
def test_a_failed_job_fails_the_task_without_retry(cordial: SandboxProcess, mode: dict[str, Any]) -> None:
    job_id = submit_job(cordial, job_fails_with="Login failed.", job_seconds=0.3)
    with pytest.raises(AwaitedJobFailedError, match=r"(?s)Failed: Login failed\..*trends-1") as failed:
        wait(job_id, **mode)
    assert isinstance(failed.value, AirflowFailException)
    assert failed.value.job is not None
    assert failed.value.job.is_failed


@every_mode
def test_a_job_may_appear_within_the_grace_period(
    cordial: SandboxProcess, set_connection: SetConnection, mode: dict[str, Any]
) -> None:
    assert wait(submit_job(cordial, visible_after=0.5), **mode)["status"] == "Done"
    set_connection(
        "cordial_default",
        conn_type="cordial",
        host=cordial.url,
        password=cordial.api_key,
        extra={"not_found_grace": 0.3},
    )
    started = time.monotonic()
    with pytest.raises(JobNotFoundError, match="(?s)'?nope'? is unknown to Cordial .* same account"):
        wait("nope", **mode)
    assert 0.25 < time.monotonic() - started < 3


@every_mode
@pytest.mark.parametrize(
    ("status", "error"), [("Throttled", SensorJobTimeoutError), ("Reticulating", SensorUnknownJobStatusError)]
)
def test_a_timeout_reports_the_last_status(
    cordial: SandboxProcess, mode: dict[str, Any], status: str, error: type[JobTimeoutError]
) -> None:
    job_id = submit_job(cordial, job_stays_in=status)
    with pytest.raises(error, match=status) as late:
        wait(job_id, timeout=0.4, **mode)
    assert isinstance(late.value, AirflowSensorTimeout)
    assert isinstance(late.value, UnknownJobStatusError) is (status == "Reticulating")


@every_mode
@pytest.mark.parametrize("trouble", ["failed", "late", "unknown", "unauthorized"])
def test_soft_fail_skips_on_any_error(
    cordial: SandboxProcess, set_connection: SetConnection, mode: dict[str, Any], trouble: str
) -> None:
    job_id, timeout = submit_job(cordial), 10.0
    match trouble:
        case "failed":
            job_id = submit_job(cordial, job_fails_with="Login failed.")
        case "late":
            job_id, timeout = submit_job(cordial, job_stays_in="Pending"), 0.3
        case "unknown" | "unauthorized":
            password = cordial.api_key if trouble == "unknown" else "wrong-key-123"
            extra = {"not_found_grace": 0.2, "rejection_grace": 0.2}
            set_connection("cordial_default", conn_type="cordial", host=cordial.url, password=password, extra=extra)
            job_id = "nope"
    with pytest.raises(AirflowSkipException):
        wait(job_id, soft_fail=True, timeout=timeout, **mode)


@every_mode
def test_never_fail_skips_if_the_first_poll_fails(cordial: SandboxProcess, mode: dict[str, Any]) -> None:
    job_id = submit_job(cordial, job_fails_with="Login failed.", job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Failed":
        time.sleep(0.02)
    with pytest.raises(AirflowSkipException, match="never_fail is set"):
        wait(job_id, never_fail=True, **mode)


@every_mode
def test_a_temporary_failure_does_not_end_a_wait(cordial: SandboxProcess, mode: dict[str, Any]) -> None:
    job_id = submit_job(cordial, job_seconds=0.5)
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
def test_a_wrong_key_ends_a_wait_after_its_grace(
    cordial: SandboxProcess, set_connection: SetConnection, mode: dict[str, Any]
) -> None:
    job_id = submit_job(cordial, job_stays_in="Pending")
    fields: dict[str, Any] = {"conn_type": "cordial", "host": cordial.url, "password": "wrong-key-123"}
    set_connection("cordial_default", **fields, extra={"rejection_grace": 1.5})
    started = time.monotonic()
    with pytest.raises(AuthenticationError, match="addresses of workers and triggerers"):
        wait(job_id, **mode)
    assert 1.4 < time.monotonic() - started < 8


@every_mode
def test_a_key_rotation_and_a_brief_block_end_no_wait(
    cordial: SandboxProcess, set_connection: SetConnection, mode: dict[str, Any]
) -> None:
    job_id = submit_job(cordial, job_seconds=0.5)
    fields: dict[str, Any] = {"conn_type": "cordial", "host": cordial.url}
    set_connection("cordial_default", **fields, password="old-key-12345")
    rotation = threading.Timer(1.0, set_connection, ["cordial_default"], {**fields, "password": cordial.api_key})
    rotation.start()
    cordial.control.fault("get_job", "answer", status=403, body="<html>Blocked</html>", times=2)
    assert wait(job_id, **mode)["status"] == "Done"
    rotation.join()


UNREADABLE = [
    AirflowNotFoundException("The conn_id `cordial_default` isn't defined"),
    RuntimeError("password=hunter22"),
]


@pytest.mark.parametrize("error", UNREADABLE, ids=lambda error: type(error).__name__)
def test_an_unreadable_connection_after_a_rejection_ends_no_wait(
    cordial: SandboxProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    real, failures = CordialHook.get_connection, iter([None, error])

    def busy_later(conn_id: str) -> Any:
        if failure := next(failures, None):
            raise failure
        return real(conn_id)

    monkeypatch.setattr(CordialHook, "get_connection", staticmethod(busy_later))
    (job_id,) = cordial.control.add_jobs(1, shortest=0.5, longest=0.5)
    cordial.control.fault("get_job", "answer", status=401, times=2)
    assert wait(job_id, mode="poke")["status"] == "Done"
    output = capsys.readouterr().out
    assert output.count("Cannot read connection cordial_default again") == 1
    assert "hunter22" not in output


def test_a_rescheduled_task_honors_retry_after(cordial: SandboxProcess, set_connection: SetConnection) -> None:
    job_id = submit_job(cordial, job_stays_in="Pending")
    fields: dict[str, Any] = {"conn_type": "cordial", "host": cordial.url, "password": cordial.api_key}
    set_connection("cordial_default", **fields, extra={"max_wait": 600, "attempts": 1})

    def comes_back_in(**options: Any) -> float:
        with pytest.raises(AirflowRescheduleException) as later:
            sensor(job_id, mode="reschedule", timeout=3600, **options).execute(context())
        return float((later.value.reschedule_date - datetime.now(UTC)).total_seconds())

    assert 8 < comes_back_in(poke_interval=300) <= 10
    cordial.control.fault("get_job", "answer", status=429, headers={"Retry-After": "500"}, times=2)
    assert 499 < comes_back_in() <= 500
    assert 499 < comes_back_in(exponential_backoff=True) <= 500
    cordial.control.fault("get_job", "answer", status=429, headers={"Retry-After": "90000"}, times=1)
    assert 599 < comes_back_in() <= 600


def test_a_done_job_is_not_deferred(cordial: SandboxProcess) -> None:
    job_id = submit_job(cordial, job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Done":
        time.sleep(0.02)
    assert sensor(job_id, deferrable=True).execute(context())["status"] == "Done"


def test_the_trigger_row_has_ids_and_numbers_only(cordial: SandboxProcess) -> None:
    job_id = submit_job(cordial, job_stays_in="Pending")
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


def test_a_trigger_timeout_polls_the_job_one_last_time(cordial: SandboxProcess) -> None:
    job_id = submit_job(cordial, job_stays_in="Processing")
    timed_out = ("__fail__", {"error": "Trigger timeout"}, context())
    with pytest.raises(AirflowSensorTimeout, match="last status was Processing"):
        sensor(job_id, deferrable=True).resume_execution(*timed_out)
    with pytest.raises(AirflowSkipException, match="last status was Processing"):
        sensor(job_id, deferrable=True, soft_fail=True).resume_execution(*timed_out)
    cordial.control.behaviour(job_stays_in=None, job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Done":
        time.sleep(0.02)
    assert sensor(job_id, deferrable=True).resume_execution(*timed_out)["status"] == "Done"


def test_a_retry_executes_although_airflow_resumes_it_with_an_old_event(cordial: SandboxProcess) -> None:
    job_id = submit_job(cordial, job_seconds=0)
    while cordial.control.job(job_id)["status"] != "Done":
        time.sleep(0.02)
    event = {"status": "error", "job_id": job_id, "job": None, "error": {"class": "ServerError", "message": "down"}}
    retry: Any = {**context(), "ti": SimpleNamespace(try_number=2, xcom_push=lambda **_: None)}
    resumed = sensor(job_id, deferrable=True).resume_execution(
        "execute_complete", {"deferred_try": 1, "event": event}, retry
    )
    assert resumed["status"] == "Done"


def test_the_deadline_precedes_the_execution_timeout(cordial: SandboxProcess) -> None:
    job_id = submit_job(cordial, job_stays_in="Pending")
    started = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        sensor(job_id, deferrable=True, timeout=60, execution_timeout=timedelta(seconds=20)).execute(context())
    assert started + 18 <= deferred.value.trigger.serialize()[1]["deadline"] <= time.time() + 18


def test_an_invalid_event_is_never_a_success() -> None:
    for event in (None, {}, {"status": "success", "job_id": "other", "job": {"status": "Done"}}):
        with pytest.raises(BadEventError):
            sensor("j1", deferrable=True).execute_complete(context(), event)


def test_operator_and_sensor_raise_different_errors() -> None:
    assert issubclass(AwaitedJobFailedError, JobFailedError)
    assert not issubclass(JobFailedError, AirflowFailException)


def test_a_sensor_fails_without_a_useless_retry() -> None:
    failed = for_sensor(JobFailedError("failed", job=Job("j1", "Failed")))
    assert isinstance(failed, AwaitedJobFailedError)
    assert isinstance(failed, AirflowFailException)
    late = for_sensor(JobTimeoutError("late", job=Job("j1", "Pending")))
    assert isinstance(late, AirflowSensorTimeout)
    odd = for_sensor(UnknownJobStatusError("odd", job=Job("j1", "Odd")))
    assert isinstance(odd, UnknownJobStatusError)
    assert isinstance(odd, AirflowSensorTimeout)
    other = ServerError("503")
    assert for_sensor(other) is other


@pytest.mark.parametrize("options", [{"poke_interval": 0}, {"timeout": 0}])
@every_mode
def test_invalid_intervals_are_rejected_when_the_task_starts(
    cordial: SandboxProcess, mode: dict[str, Any], options: dict[str, Any]
) -> None:
    with pytest.raises(
        InvalidParameterError, match=r"(?s)Invalid (poll interval|timeout) .*: expected a number of seconds"
    ):
        sensor("j1", **mode, **options).execute(context())
    assert cordial.control.requests() == []


@every_mode
def test_intervals_may_be_timedeltas(cordial: SandboxProcess, mode: dict[str, Any]) -> None:
    options = {"poke_interval": timedelta(seconds=0.05), "timeout": timedelta(seconds=10)}
    assert wait(submit_job(cordial, job_seconds=0.2), **mode, **options)["status"] == "Done"


@every_mode
def test_a_dripping_answer_does_not_delay_the_timeout(set_connection: SetConnection, mode: dict[str, Any]) -> None:
    with raw_server(drip_the_body) as url:
        extra = {"attempts": 1, "connect_timeout": 1, "read_timeout": 2}
        set_connection("cordial_default", conn_type="cordial", host=url, password="KEY-123456", extra=extra)
        started = time.monotonic()
        with pytest.raises(AirflowSensorTimeout, match="status could never be read"):
            wait("j1", **mode, timeout=3)
    assert time.monotonic() - started < 12
