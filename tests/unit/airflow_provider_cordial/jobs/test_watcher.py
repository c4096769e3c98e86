"""What a look at a job means, and the events that carry it from the triggerer to the task."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from airflow_provider_cordial._compat import AirflowFailException, AirflowSensorTimeout
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    AwaitedJobFailedError,
    BadEventError,
    CordialError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    NotFoundError,
    RateLimitError,
    ServerError,
    UnknownJobStatusError,
)
from airflow_provider_cordial.jobs import waiting

log = logging.getLogger("test")


def job(status: str, **record: Any) -> Job:
    return Job.from_record({"status": status, **record}, "j1")


def watch(grace: float = 60) -> waiting.JobWatcher:
    return waiting.JobWatcher("j1", grace=grace, since=1000.0, log=log)


@pytest.mark.parametrize("status", ["Scheduled", "Pending", "Processing", "Throttled", "Reticulating", ""])
def test_every_status_but_two_is_waited_on(status: str) -> None:
    assert watch().saw(job(status), 1000.0) is None


def test_done_ends_the_wait_and_nothing_like_it() -> None:
    assert watch().saw(job("Done"), 1000.0) == job("Done")
    assert watch().saw(job("done"), 1000.0) is None


def test_failed_says_all_that_cordial_said() -> None:
    failed = job("Failed", result={"error": 1, "message": "Login failed."}, metadata={"name": "trends"})
    with pytest.raises(JobFailedError, match=r"Job j1 Failed.*Login failed\..*trends.*Jobs page") as raised:
        watch().saw(failed, 1000.0)
    assert raised.value.job == failed


def test_a_job_may_be_unknown_within_the_grace_period_only() -> None:
    wait = watch(grace=60)
    assert wait.saw(NotFoundError("404"), 1059.9) is None
    with pytest.raises(JobNotFoundError, match="Job j1 is not known to Cordial 60 s after.*same account"):
        wait.saw(NotFoundError("404"), 1060.0)


def test_what_may_pass_does_not_end_a_wait_and_a_refusal_does() -> None:
    wait = watch()
    assert wait.saw(ServerError("503"), 1000.0) is None
    with pytest.raises(AuthenticationError):
        wait.saw(AuthenticationError("401"), 1001.0)


def test_cordials_wish_to_wait_lengthens_the_next_pause_only() -> None:
    wait = watch()
    wait.saw(RateLimitError("429", retry_after=90), 1000.0)
    assert (wait.pause(30, 1000.0), wait.at_least(5)) == (90, 90)
    wait.saw(RateLimitError("429", retry_after=5), 1000.0)
    assert 9 <= wait.pause(30, 1000.0) <= 10
    wait.saw(job("Pending"), 1000.0)
    assert wait.at_least(5) == 5


def test_a_young_wait_looks_often_and_an_old_one_by_the_poll_interval() -> None:
    assert [waiting.pause_after(waited, 300) for waited in (0, 10, 20, 60, 600, 100_000)] == [10, 10, 10, 30, 300, 300]
    assert [waiting.pause_after(waited, 2) for waited in (0, 10, 100)] == [2, 2, 2]


def test_pauses_are_never_longer_than_asked_for_and_differ() -> None:
    pauses = {watch().pause(20, 1100.0) for _ in range(100)}
    assert all(18 <= pause <= 20 for pause in pauses)
    assert len(pauses) > 50


def test_one_line_of_log_per_change(caplog: pytest.LogCaptureFixture) -> None:
    wait = watch()
    with caplog.at_level("INFO"):
        for look in (
            [job("Pending")] * 3 + [job("Odd")] * 3 + [ServerError("503")] * 3 + [job("Pending")] * 2 + [job("Done")]
        ):
            wait.saw(look, 1000.0)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING", "INFO", "INFO"]
    assert "unknown status 'Odd'" in caplog.text


def test_a_deadline_that_passed_names_the_last_status() -> None:
    wait = watch()
    assert "status could not be read even once" in str(wait.timed_out())
    wait.saw(job("Throttled"), 1000.0)
    assert "last status was Throttled" in str(wait.timed_out())
    assert type(wait.timed_out()) is JobTimeoutError
    wait.saw(job("Odd"), 1000.0)
    assert type(wait.timed_out()) is UnknownJobStatusError
    assert "'Odd', is none that this provider knows" in str(wait.timed_out())


def test_an_event_carries_a_done_job() -> None:
    event = json.loads(json.dumps(waiting.build_event("j1", job("Done", totalItems=3))))
    assert waiting.parse_event(event, "j1").to_json() == {"status": "Done", "totalItems": 3, "jobId": "j1"}
    assert waiting.parse_event(event).id == "j1"


@pytest.mark.parametrize(
    "error",
    [
        JobFailedError("failed", job=job("Failed")),
        JobTimeoutError("late", job=job("Pending")),
        UnknownJobStatusError("odd", job=job("Odd")),
        JobNotFoundError("gone", status=404),
        AuthenticationError("401", status=401, error_key="K", cordial_message="no"),
        RateLimitError("429", retry_after=3),
        CordialError("other"),
    ],
)
def test_an_event_carries_an_error_as_what_it_was(error: CordialError) -> None:
    event = json.loads(json.dumps(waiting.build_event("j1", error)))
    with pytest.raises(CordialError) as raised:
        waiting.parse_event(event, "j1")
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)
    assert raised.value.to_json() == error.to_json()
    seen, was = getattr(raised.value, "job", None), getattr(error, "job", None)
    assert (seen and seen.to_json()) == (was and was.to_json())


@pytest.mark.parametrize(
    "event",
    [
        None,
        "Done",
        {},
        {"status": "success"},
        {"status": "success", "job_id": "j1"},
        {"status": "success", "job_id": "j1", "job": None},
        {"status": "success", "job_id": "j1", "job": {"status": "Processing"}},
        {"status": "success", "job_id": "j2", "job": {"status": "Done"}},
        {"status": "done", "job_id": "j1", "job": {"status": "Done"}},
        {"status": "error", "job_id": "j1", "error": None},
        {"status": None, "job_id": "j1", "job": {"status": "Done"}},
    ],
)
def test_an_event_that_is_not_understood_is_a_failure(event: Any) -> None:
    with pytest.raises(BadEventError):
        waiting.parse_event(event, "j1")


def test_an_event_names_no_class_but_an_error_of_this_provider() -> None:
    event = {"status": "error", "job_id": "j1", "job": None, "error": {"class": "annotations", "message": "x"}}
    with pytest.raises(CordialError) as raised:
        waiting.parse_event(event, "j1")
    assert type(raised.value) is CordialError


def test_a_sensor_is_not_retried_where_waiting_again_cannot_help() -> None:
    failed = waiting.for_sensor(JobFailedError("failed", job=job("Failed")))
    assert isinstance(failed, AwaitedJobFailedError)
    assert isinstance(failed, AirflowFailException)
    late = waiting.for_sensor(JobTimeoutError("late", job=job("Pending")))
    assert isinstance(late, AirflowSensorTimeout)
    odd = waiting.for_sensor(UnknownJobStatusError("odd", job=job("Odd")))
    assert isinstance(odd, UnknownJobStatusError)
    assert isinstance(odd, AirflowSensorTimeout)
    other = ServerError("503")
    assert waiting.for_sensor(other) is other
