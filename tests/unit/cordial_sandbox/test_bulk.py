"""Test adding many jobs at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    """Provide a sandbox that the test may kill."""
    sandbox = SandboxProcess(tmp_path / "sandbox", job_seconds=600)
    sandbox.start()
    yield sandbox
    sandbox.kill()


def wait_until_ended(sandbox: SandboxProcess, ids: list[str]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        jobs = [sandbox.control.job(job_id) for job_id in ids]
        if all(job["ended_at"] for job in jobs):
            return jobs
        time.sleep(0.05)
    pytest.fail(f"some jobs did not end: {jobs}")


def test_bulk_jobs_end_one_after_the_other(cordial_sandbox: SandboxProcess) -> None:
    ids = cordial_sandbox.control.add_jobs(4, shortest=0.3, longest=2.4)
    durations = [job["ended_at"] - job["created_at"] for job in wait_until_ended(cordial_sandbox, ids)]
    for seconds, expected in zip(durations, (0.3, 1.0, 1.7, 2.4), strict=True):
        assert expected <= seconds < expected + 1.3


def test_bulk_jobs_are_delivered_to_the_jobs_page(cordial_sandbox: SandboxProcess) -> None:
    ids = cordial_sandbox.control.add_jobs(2, shortest=0, longest=0)
    for job in wait_until_ended(cordial_sandbox, ids):
        assert job["status"] == "Done"
        header, row = (cordial_sandbox.data / job["delivered_to"]).read_text().splitlines()
        assert (header.count(","), row.count(",")) == (1, 1)


def test_single_bulk_job_takes_the_shortest_duration(cordial_sandbox: SandboxProcess) -> None:
    ids = cordial_sandbox.control.add_jobs(1, shortest=0, longest=600)
    assert wait_until_ended(cordial_sandbox, ids)


def test_bulk_jobs_are_ordinary_jobs(cordial_sandbox: SandboxProcess) -> None:
    ids = cordial_sandbox.control.add_jobs(3, shortest=100, longest=100)
    assert [job["id"] for job in cordial_sandbox.control.jobs()] == ids[::-1]
    for job_id in ids:
        url = f"{cordial_sandbox.url}/v2/jobs/{job_id}"
        assert requests.get(url, auth=(cordial_sandbox.api_key, ""), timeout=10).json()["status"] == "Scheduled"


def test_ended_at_is_set_when_the_job_ends(cordial_sandbox: SandboxProcess) -> None:
    before = time.time()
    (job_id,) = cordial_sandbox.control.add_jobs(1, shortest=0.5, longest=0.5)
    assert cordial_sandbox.control.job(job_id)["ended_at"] is None
    (job,) = wait_until_ended(cordial_sandbox, [job_id])
    assert before + 0.5 <= job["ended_at"] <= time.time()


def test_bulk_jobs_resume_after_a_kill_with_their_durations(own_sandbox: SandboxProcess) -> None:
    ids = own_sandbox.control.add_jobs(3, shortest=0.6, longest=1.2)
    own_sandbox.kill()
    own_sandbox.start()
    assert [job["status"] for job in wait_until_ended(own_sandbox, ids)] == ["Done"] * 3


@pytest.mark.parametrize("options", [{"count": 0}, {"shortest": -1}, {"longest": 0.5}])
def test_invalid_bulk_jobs_are_rejected(cordial_sandbox: SandboxProcess, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.add_jobs(**{"count": 1, "shortest": 1, "longest": 1, **options})
    assert cordial_sandbox.control.jobs() == []


def test_unknown_members_are_rejected(cordial_sandbox: SandboxProcess) -> None:
    body = {"count": 1, "shortest": 1, "longest": 1, "name": "another"}
    assert requests.post(f"{cordial_sandbox.url}/_sandbox/jobs", json=body, timeout=10).status_code == 422
