"""What the result of polling a job means."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    NotFoundError,
    RateLimitError,
    ServerError,
    UnknownJobStatusError,
)
from airflow_provider_cordial.jobs.watcher import JobWatcher

log = logging.getLogger("test")


def job(status: str, **record: Any) -> Job:
    return Job.from_record({"status": status, **record}, "j1")


def build_watcher(grace: float = 60) -> JobWatcher:
    return JobWatcher("j1", grace=grace, since=1000.0, log=log)


@pytest.mark.parametrize("status", ["Scheduled", "Pending", "Processing", "Throttled", "Reticulating", ""])
def test_every_other_status_continues_the_wait(status: str) -> None:
    assert build_watcher().observe(job(status), 1000.0) is None


def test_only_done_ends_the_wait() -> None:
    assert build_watcher().observe(job("Done"), 1000.0) == job("Done")
    assert build_watcher().observe(job("done"), 1000.0) is None


def test_a_failed_job_raises_with_its_record() -> None:
    failed = job("Failed", result={"error": 1, "message": "Login failed."}, metadata={"name": "trends"})
    with pytest.raises(JobFailedError, match=r"Job j1 Failed.*Login failed\..*trends.*Jobs page") as raised:
        build_watcher().observe(failed, 1000.0)
    assert raised.value.job == failed


def test_a_job_may_be_unknown_during_the_grace_period() -> None:
    watcher = build_watcher(grace=60)
    assert watcher.observe(NotFoundError("404"), 1059.9) is None
    with pytest.raises(JobNotFoundError, match="Job j1 is unknown to Cordial 60 s after.*same account"):
        watcher.observe(NotFoundError("404"), 1060.0)


def test_a_temporary_failure_continues_and_a_rejection_ends() -> None:
    watcher = build_watcher()
    assert watcher.observe(ServerError("503"), 1000.0) is None
    with pytest.raises(AuthenticationError):
        watcher.observe(AuthenticationError("401"), 1001.0)


def test_retry_after_lengthens_the_next_pause_only() -> None:
    watcher = build_watcher()
    watcher.observe(RateLimitError("429", retry_after=90), 1000.0)
    assert (watcher.pause(30, 1000.0), watcher.at_least(5)) == (90, 90)
    watcher.observe(RateLimitError("429", retry_after=5), 1000.0)
    assert 9 <= watcher.pause(30, 1000.0) <= 10
    watcher.observe(job("Pending"), 1000.0)
    assert watcher.at_least(5) == 5


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    watcher = build_watcher()
    with caplog.at_level("INFO"):
        for result in (
            [job("Pending")] * 3 + [job("Odd")] * 3 + [ServerError("503")] * 3 + [job("Pending")] * 2 + [job("Done")]
        ):
            watcher.observe(result, 1000.0)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING", "INFO", "INFO"]
    assert "unrecognized status 'Odd'" in caplog.text


def test_an_expired_deadline_reports_the_last_status() -> None:
    watcher = build_watcher()
    assert "status could never be read" in str(watcher.timeout_error())
    watcher.observe(job("Throttled"), 1000.0)
    assert "last status was Throttled" in str(watcher.timeout_error())
    assert type(watcher.timeout_error()) is JobTimeoutError
    watcher.observe(job("Odd"), 1000.0)
    assert type(watcher.timeout_error()) is UnknownJobStatusError
    assert "Unrecognized status 'Odd'" in str(watcher.timeout_error())
