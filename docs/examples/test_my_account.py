"""Tests against accounts of one's own; tests/unit/cordial_sandbox/test_documented.py runs them."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess


# [START fixture]
@pytest.fixture
def cordial(tmp_path: Path) -> Iterator[SandboxProcess]:
    """A local Cordial with the accounts of the seed file."""
    seed = Path(__file__).with_name("cordial-seed.yaml")
    with SandboxProcess(tmp_path / "cordial", seed=seed, job_seconds=0.1) as sandbox:
        yield sandbox


# [END fixture]


def export(sandbox: SandboxProcess, *audiences: str) -> dict[str, Any]:
    """Export three days to the Jobs page, and return the job once it has ended."""
    body = {
        "name": "trends",
        "exportType": "csv",
        "destination": {"type": "aws"},
        "selected_timeframe_start": "2026-11-10",
        "selected_timeframe_end": "2026-11-12",
        "audiences": audiences,
    }
    url, auth = f"{sandbox.url}/v2/audiencetrendsexport", (sandbox.api_key, "")
    response = requests.post(url, json=body, auth=auth, timeout=10)
    response.raise_for_status()
    for _ in range(500):
        job = sandbox.control.job(response.json()["jobId"])
        if job["ended_at"]:
            return job
        time.sleep(0.02)
    pytest.fail(f"the job did not end: {job}")


def read_sizes(sandbox: SandboxProcess, job: dict[str, Any]) -> list[str]:
    _, (_, *sizes) = csv.reader((sandbox.data / job["delivered_to"]).open())
    return sizes


# [START tests]
def test_the_sizes_are_those_of_the_seed_file(cordial: SandboxProcess) -> None:
    assert read_sizes(cordial, export(cordial, "gold")) == ["1200", "", "1215"]


def test_a_day_that_is_not_over_is_blank(cordial: SandboxProcess) -> None:
    cordial.control.clock(now="2026-11-12T12:00:00-05:00", stopped=True)
    assert read_sizes(cordial, export(cordial, "gold")) == ["1200", "", ""]
    cordial.control.clock(move=24 * 60 * 60)
    assert read_sizes(cordial, export(cordial, "gold")) == ["1200", "", "1215"]


def test_single_jobs_have_a_fate(cordial: SandboxProcess) -> None:
    cordial.control.fate(nth=2, fails_with="Disk full")
    cordial.control.fate(audience="newsletter", missing_days=["2026-11-11"])
    assert read_sizes(cordial, export(cordial, "newsletter"))[1] == ""
    assert export(cordial, "gold")["reason"] == "Disk full"


def test_a_key_sees_only_its_account(cordial: SandboxProcess) -> None:
    export(cordial, "gold")
    jobs = requests.get(f"{cordial.url}/v2/jobs", auth=("wholesale-key", ""), timeout=10)
    assert jobs.json() == []
    assert cordial.control_of("wholesale").jobs() == []


# [END tests]
