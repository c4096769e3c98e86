"""The decision table of a submission, and the names of its generations."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import NotFoundError, PermissionDeniedError, ServerError
from airflow_provider_cordial.exports.decision import (
    Adopt,
    ListJobs,
    Pause,
    PollJob,
    Record,
    Restart,
    Reuse,
    Send,
    SubmissionState,
    Take,
    Uncertain,
    decide,
)
from airflow_provider_cordial.exports.identity import Attempt, generation_name, may_be_name_of, parse_generation

NOW = datetime(2026, 11, 12, 11, tzinfo=UTC)
INTENT = Record("digest", Attempt(1, max_tries=2, retries=2, clear_number=0), "n", 1, NOW)
SUBMITTED = replace(INTENT, job_id="j1")
SECOND = replace(INTENT, generation=2)


def job(
    name: str | None, job_id: str = "j1", status: str = "Pending", started: datetime | None = None, **more: Any
) -> Job:
    record = {"status": status, "metadata": {"name": name} if name else {}, "times": {"start": None}, **more}
    if started:
        record["times"] = {"start": started.strftime("%Y-%m-%dT%H:%M:%S%z")}
    return Job.from_record(record, job_id)


LONG_AGO = NOW - timedelta(days=1)


def state(**changes: Any) -> SubmissionState:
    return SubmissionState(**{"name": "n", "names_the_run": True, "has_store": True, "try_number": 1, **changes})


CASES: list[Any] = [
    # Nothing is known of an earlier submission.
    pytest.param({}, Send(1), id="first-try"),
    pytest.param({"try_number": 2}, Send(1), id="died-before-the-intent"),
    pytest.param({"has_store": False}, Send(1), id="no-store-first-try"),
    pytest.param({"has_store": False, "try_number": 2}, ListJobs(), id="no-store-retry"),
    # A job is recorded.
    pytest.param({"record": SUBMITTED}, PollJob("j1"), id="recorded"),
    pytest.param({"record": SUBMITTED, "job": job("n")}, Reuse(SUBMITTED), id="recorded-and-live"),
    pytest.param({"record": SUBMITTED, "job": job("n", status="Done")}, Reuse(SUBMITTED), id="recorded-and-done"),
    pytest.param({"record": SUBMITTED, "job": job("n", status="Odd")}, Reuse(SUBMITTED), id="recorded-and-odd"),
    pytest.param({"record": SUBMITTED, "job": NotFoundError("")}, Reuse(SUBMITTED), id="recorded-and-not-found-yet"),
    pytest.param({"record": SUBMITTED, "job": ServerError("")}, Reuse(SUBMITTED), id="recorded-and-unreadable"),
    pytest.param({"record": SUBMITTED, "job": job("n", status="Failed")}, Send(2), id="recorded-and-failed"),
    # The intent has no answer.
    pytest.param({"record": INTENT}, ListJobs(), id="intent"),
    pytest.param({"record": INTENT, "jobs": [job("n")]}, Adopt("j1", 1), id="listed"),
    pytest.param({"record": INTENT, "jobs": [job("n"), job("n")]}, Adopt("j1", 1), id="listed-on-two-pages"),
    pytest.param({"record": INTENT, "jobs": [job("n"), job(None, "j2")]}, Adopt("j1", 1), id="listed-beside-unnamed"),
    pytest.param(
        {"record": INTENT, "jobs": [job("n", started=LONG_AGO)]}, Adopt("j1", 1, LONG_AGO), id="clock-is-wrong"
    ),
    pytest.param({"record": INTENT, "jobs": []}, Pause(), id="not-listed-yet"),
    pytest.param({"record": INTENT, "jobs": [job("other")]}, Pause(), id="another-is-listed"),
    pytest.param({"record": INTENT, "jobs": [], "is_settled": True}, Send(1), id="not-listed"),
    pytest.param({"record": INTENT, "jobs": [job("n-2")], "is_settled": True}, Send(1), id="another-generation"),
    pytest.param({"record": SECOND, "jobs": [job("n"), job("n-2", "j2")]}, Adopt("j2", 2), id="its-generation"),
    pytest.param(
        {"record": SECOND, "jobs": [job("n")], "is_settled": True}, Send(2), id="its-generation-is-not-listed"
    ),
    # A job may exist.
    pytest.param({"record": INTENT, "jobs": [job("n"), job("n", "j2")]}, Uncertain, id="two"),
    pytest.param({"record": INTENT, "jobs": [job("n", "")]}, Uncertain, id="without-id"),
    pytest.param({"record": INTENT, "jobs": [job(None)]}, Pause(), id="unnamed-yet"),
    pytest.param({"record": INTENT, "jobs": [job(None)], "is_settled": True}, Uncertain, id="unnamed"),
    pytest.param(
        {"record": INTENT, "jobs": [job(None, started=LONG_AGO)], "is_settled": True}, Send(1), id="unnamed-and-older"
    ),
    pytest.param(
        {"record": INTENT, "jobs": [job(None, jobName="ImportContacts")], "is_settled": True}, Send(1), id="no-export"
    ),
    pytest.param({"record": INTENT, "jobs": PermissionDeniedError("no")}, Uncertain, id="list-refused"),
    # The author wants another export where the state is unknown.
    pytest.param(
        {"record": INTENT, "jobs": [job("n", "")], "resubmit_if_uncertain": True}, Send(2), id="resubmit-if-uncertain"
    ),
    pytest.param({"record": SUBMITTED, "is_accepted": True}, Reuse(SUBMITTED), id="just-submitted"),
    # Other runs share the name.
    pytest.param({"names_the_run": False, "record": INTENT, "jobs": [job("n")]}, Uncertain, id="same-name-live"),
    pytest.param(
        {"names_the_run": False, "record": INTENT, "jobs": [job("n", started=LONG_AGO)], "is_settled": True},
        Send(1),
        id="same-name-older",
    ),
    # The task was cleared: a live job is resumed, and everything else is exported again.
    pytest.param({"is_cleared": True, "record": SUBMITTED}, PollJob("j1"), id="cleared"),
    pytest.param({"is_cleared": True, "record": SUBMITTED, "job": job("n")}, Reuse(SUBMITTED), id="cleared-live"),
    pytest.param(
        {"is_cleared": True, "record": SUBMITTED, "job": job("n", status="Odd")}, Reuse(SUBMITTED), id="cleared-odd"
    ),
    pytest.param(
        {"is_cleared": True, "record": SUBMITTED, "job": NotFoundError("")}, Reuse(SUBMITTED), id="cleared-at-once"
    ),
    pytest.param(
        {"is_cleared": True, "record": SUBMITTED, "job": NotFoundError(""), "is_settled": True},
        Restart(),
        id="cleared-and-forgotten",
    ),
    *(
        pytest.param(
            {"is_cleared": True, "record": SUBMITTED, "job": job("n", status=status)}, Restart(), id=f"cleared-{status}"
        )
        for status in ("Done", "Failed")
    ),
    pytest.param(
        {"is_cleared": True, "record": SUBMITTED, "job": PermissionDeniedError("")}, Restart(), id="cleared-forbidden"
    ),
    pytest.param({"is_cleared": True, "record": INTENT}, ListJobs(), id="cleared-intent"),
    pytest.param(
        {"is_cleared": True, "record": INTENT, "jobs": [job("n")]}, Adopt("j1", 1), id="cleared-intent-and-live"
    ),
    *(
        pytest.param({"is_cleared": True, "record": INTENT, "jobs": jobs}, Restart(), id=f"cleared-intent-{what}")
        for what, jobs in {
            "done": [job("n", status="Done")],
            "without-id": [job("n", "")],
            "not-listed": [],
            "another-generation": [job("n-2")],
            "unnamed": [job(None)],
            "list-refused": PermissionDeniedError("no"),
        }.items()
    ),
    pytest.param(
        {"is_cleared": True, "names_the_run": False, "record": INTENT}, Restart(), id="cleared-intent-with-exact-name"
    ),
    # A person has found the job.
    pytest.param({"given_job_id": "j9"}, Take("j9"), id="given"),
    pytest.param({"given_job_id": "j9", "record": INTENT, "is_cleared": True}, Take("j9"), id="given-and-cleared"),
    # Without a store the name decides.
    pytest.param({"has_store": False, "try_number": 2, "jobs": [job("n")]}, Adopt("j1", 1), id="no-store-listed"),
    pytest.param(
        {"has_store": False, "try_number": 3, "jobs": [job("n", status="Failed"), job("n-2", "j2")]},
        Adopt("j2", 2),
        id="no-store-newest-generation",
    ),
    pytest.param({"has_store": False, "try_number": 2, "jobs": []}, Pause(), id="no-store-not-listed-yet"),
    pytest.param(
        {"has_store": False, "try_number": 2, "jobs": [], "is_settled": True}, Send(1), id="no-store-not-listed"
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_decide(changes: dict[str, Any], expected: Any) -> None:
    step = decide(state(**changes))
    assert isinstance(step, expected) if isinstance(expected, type) else step == expected


FAILED = job("n", status="Failed", reason="Login failed.")


@pytest.mark.parametrize(
    ("changes", "reason", "is_warning"),
    [
        ({}, "", False),
        ({"record": SUBMITTED, "is_accepted": True}, "Submitted export n as job j1", False),
        ({"record": SUBMITTED, "job": job("n")}, "Resuming job j1 of export n", False),
        ({"record": SUBMITTED, "job": FAILED}, r"Job j1 Failed; exporting again as n-2\. .*Login failed\.", True),
        ({"record": INTENT, "jobs": []}, "Export n is not in the list of jobs yet", False),
        ({"record": INTENT, "jobs": [job("n")]}, "Export n is job j1; not submitting it again", False),
        ({"record": INTENT, "jobs": [job("x")], "is_settled": True}, "Export n is not among 1 listed jobs", False),
        ({"record": INTENT, "jobs": [job("n", "")]}, "a listed job has its name, but the list", False),
        (
            {"record": INTENT, "jobs": [job("n", "")], "resubmit_if_uncertain": True},
            r"Unknown whether export n was accepted \(a listed job has its name",
            True,
        ),
    ],
)
def test_a_step_carries_the_reason_that_is_logged(changes: dict[str, Any], reason: str, is_warning: bool) -> None:
    step = decide(state(**changes))
    assert re.match(reason, step.reason) if reason else step.reason == ""
    assert step.is_warning is is_warning


@pytest.mark.parametrize(
    ("name", "generation"),
    [("n", 1), ("n-2", 2), ("n-10", 10), ("n-1", None), ("n-02", None), ("n-x", None), ("nn", None), (None, None)],
)
def test_generation_names(name: str | None, generation: int | None) -> None:
    assert parse_generation(name, "n") == generation
    if generation:
        assert generation_name("n", generation) == name


@pytest.mark.parametrize(
    ("job_name", "expected"),
    [
        ("n", True),
        ("n-0123456789ab", True),
        ("n-0123456789ab-2", True),
        ("n-2", True),
        ("n-daily-0123456789ab", False),
        ("nn", False),
        ("n-0123456789abc", False),
    ],
)
def test_a_job_of_any_run_of_the_task_may_have_its_name(job_name: str, *, expected: bool) -> None:
    assert may_be_name_of(job_name, "n") is expected


FIRST = Attempt(1, max_tries=2, retries=2, clear_number=0)
SECOND_ROUND = Attempt(3, max_tries=4, retries=2, clear_number=1)


@pytest.mark.parametrize(
    ("earlier", "now", "expected"),
    [
        pytest.param(FIRST, Attempt(2, 2, 2, 0), False, id="retry"),
        pytest.param(FIRST, Attempt(2, 3, 2, 1), True, id="clear"),
        pytest.param(FIRST, Attempt(2, 2, 1, 1), True, id="clear-with-fewer-retries"),
        pytest.param(FIRST, Attempt(2, 2, 1, 0), False, id="retry-with-fewer-retries"),
        pytest.param(FIRST, Attempt(3, 2, 0, 1), True, id="clear-of-the-second-try-with-fewer-retries"),
        pytest.param(FIRST, Attempt(2, 2, 5, 0), False, id="retry-with-more-retries"),
        pytest.param(FIRST, Attempt(2, 2, 2, 1), False, id="retry-after-the-clear-of-another-task"),
        pytest.param(FIRST, Attempt(3, 2, 2, 4), False, id="retry-after-clears-of-other-tasks"),
        pytest.param(SECOND_ROUND, Attempt(4, 4, 2, 1), False, id="retry-after-a-clear"),
        pytest.param(SECOND_ROUND, Attempt(4, 4, 2, 2), False, id="retry-after-clears-of-this-and-of-another-task"),
        pytest.param(SECOND_ROUND, Attempt(4, 4, 1, 2), True, id="second-clear-with-fewer-retries"),
        pytest.param(SECOND_ROUND, Attempt(4, 5, 2, 2), True, id="second-clear"),
        pytest.param(Attempt(1, None, 2), Attempt(2, None, 2), False, id="not-numbered"),
    ],
)
def test_a_clear_is_distinguished_from_a_retry(earlier: Attempt, now: Attempt, *, expected: bool) -> None:
    assert now.is_after_clear_since(earlier) is expected


def test_a_record_is_read_as_it_was_written() -> None:
    record = replace(SUBMITTED, sent_at=NOW, uri="sftp://x/", given_job_id="j1", refused=("one", "two"))
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    "value", [None, {}, [], "x", {"digest": "d", "generation": "x", "intended_at": "", "job_id": 1}]
)
def test_an_unreadable_record_is_ignored(value: Any) -> None:
    assert Record.from_json(value) is None
