"""The events that carry the outcome of a wait from the triggerer to the task."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    BadEventError,
    CordialError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    RateLimitError,
    UnknownJobStatusError,
)
from airflow_provider_cordial.jobs.events import build_event, parse_event


def job(status: str, **record: Any) -> Job:
    return Job.from_record({"status": status, **record}, "j1")


def test_an_event_carries_a_done_job() -> None:
    event = json.loads(json.dumps(build_event("j1", job("Done", totalItems=3))))
    assert parse_event(event, "j1").to_json() == {"status": "Done", "totalItems": 3, "jobId": "j1"}


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
def test_an_event_carries_an_error(error: CordialError) -> None:
    event = json.loads(json.dumps(build_event("j1", error)))
    with pytest.raises(CordialError) as raised:
        parse_event(event, "j1")
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)
    assert raised.value.to_json() == error.to_json()
    received, sent = getattr(raised.value, "job", None), getattr(error, "job", None)
    assert (received and received.to_json()) == (sent and sent.to_json())


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
def test_an_unreadable_event_is_a_failure(event: Any) -> None:
    with pytest.raises(BadEventError):
        parse_event(event, "j1")


def test_an_event_creates_only_errors_of_this_provider() -> None:
    event = {"status": "error", "job_id": "j1", "job": None, "error": {"class": "annotations", "message": "x"}}
    with pytest.raises(CordialError) as raised:
        parse_event(event, "j1")
    assert type(raised.value) is CordialError
