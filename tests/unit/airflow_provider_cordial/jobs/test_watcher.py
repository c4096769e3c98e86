"""How the result of a poll is interpreted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import (
    AccessError,
    AuthenticationError,
    DestinationError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RefusedError,
    RequestError,
    ServerError,
    UnknownJobStatusError,
)
from airflow_provider_cordial.jobs.watcher import JobWatcher

log = logging.getLogger("test")


def job(status: str, **record: Any) -> Job:
    return Job.from_record({"status": status, **record}, "j1")


def build_watcher(grace: float = 60) -> JobWatcher:
    return JobWatcher("j1", grace=grace, since=1000.0, max_wait=120, rejection_grace=30, log=log)


@pytest.mark.parametrize("status", ["Scheduled", "Pending", "Processing", "Throttled", "Reticulating", ""])
def test_any_other_status_continues_the_wait(status: str) -> None:
    assert build_watcher().observe(job(status), 1000.0) is None


def test_only_done_ends_the_wait() -> None:
    assert build_watcher().observe(job("Done"), 1000.0) == job("Done")
    assert build_watcher().observe(job("Donefish"), 1000.0) is None


@pytest.mark.parametrize("status", ["done", "DONE", " Done", "Done\n"])
def test_case_and_blanks_of_a_status_do_not_matter(status: str) -> None:
    found = build_watcher().observe(job(status), 1000.0)
    assert found is not None
    assert found.status == "Done"
    with pytest.raises(JobFailedError):
        build_watcher().observe(job(status.lower().replace("done", "FAILED")), 1000.0)


def test_a_failed_job_raises_with_its_record() -> None:
    failed = job("Failed", result={"error": 1, "message": "Login failed."}, metadata={"name": "trends"})
    with pytest.raises(
        JobFailedError, match=r"(?s)Job j1 Failed: Login failed\.\s.*Jobs page.*record: .*trends"
    ) as raised:
        build_watcher().observe(failed, 1000.0)
    assert raised.value.job == failed


def test_a_job_may_be_unknown_during_the_grace_period() -> None:
    watcher = build_watcher(grace=60)
    assert watcher.observe(NotFoundError("404"), 1059.9) is None
    with pytest.raises(JobNotFoundError, match="(?s)Job j1 is unknown to Cordial 60 s after.*same account"):
        watcher.observe(NotFoundError("404"), 1060.0)


def test_only_a_rejection_ends_the_wait_at_once() -> None:
    watcher = build_watcher()
    assert watcher.observe(ServerError("503"), 1000.0) is None
    with pytest.raises(DestinationError):
        watcher.observe(DestinationError("400"), 1001.0)


@pytest.mark.parametrize("kind", [AuthenticationError, PermissionDeniedError])
def test_a_rejected_key_ends_the_wait_after_its_grace(kind: type[AccessError]) -> None:
    watcher = build_watcher()
    for moment in (1000.0, 1010.0, 1029.9):
        assert watcher.observe(kind("no"), moment) is None
    with pytest.raises(kind):
        watcher.observe(kind("no"), 1030.0)
    # Any other result restarts the grace period.
    assert watcher.observe(job("Pending"), 1031.0) is None
    assert watcher.observe(kind("no"), 1060.0) is None


def test_two_rejections_far_apart_end_no_wait() -> None:
    watcher = build_watcher()
    assert watcher.observe(AuthenticationError("401"), 1000.0) is None
    assert watcher.observe(AuthenticationError("401"), 1080.0) is None
    with pytest.raises(AuthenticationError):
        watcher.observe(AuthenticationError("401"), 1090.0)


@pytest.mark.parametrize("kind", [PermissionDeniedError, RequestError, NotFoundError])
def test_a_rejection_by_a_firewall_is_retryable(kind: type[RefusedError]) -> None:
    watcher = build_watcher(grace=0)
    html = kind("no", is_from_cordial=False)
    assert watcher.observe(html, 1000.0) is None
    assert watcher.observe(html, 1010.0) is None
    with pytest.raises(ServerError, match="could not be polled for 30 s") as raised:
        watcher.observe(html, 1030.0)
    assert raised.value.retry_helps


def test_retry_after_extends_only_the_next_pause() -> None:
    watcher = build_watcher()
    watcher.observe(RateLimitError("429", retry_after=90), 1000.0)
    assert (watcher.pause(30, 1000.0), watcher.at_least(5)) == (90, 90)
    watcher.observe(RateLimitError("429", retry_after=3600), 1000.0)
    assert watcher.at_least(5) == 120
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
