"""Test the clock, days that are not over, and retention."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body

DAY = 24 * 60 * 60


def export(sandbox: SandboxProcess, **changes: Any) -> dict[str, Any]:
    """Export to the Jobs page and return the job once it is settled."""
    url, auth = f"{sandbox.url}/v2/audiencetrendsexport", (sandbox.api_key, "")
    response = requests.post(url, json=export_body(**changes), auth=auth, timeout=10)
    assert response.status_code == 200, response.text
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        job = sandbox.control.job(response.json()["jobId"])
        if job["delivered_to"] or job["reason"]:
            return job
        time.sleep(0.02)
    pytest.fail(f"job did not settle: {job}")


def read_rows(sandbox: SandboxProcess, job: dict[str, Any]) -> list[list[str]]:
    return [line.split(",") for line in (sandbox.data / job["delivered_to"]).read_text().splitlines()]


@pytest.mark.parametrize(
    ("now", "known"),
    [
        ("2026-11-11T07:59:59", 1),  # still the 10th in Los Angeles
        ("2026-11-11T08:00:00", 2),
        ("2026-11-12T08:00:00+00:00", 3),
        ("2026-11-12T00:00:00-08:00", 3),
    ],
)
def test_days_that_are_not_over_have_no_snapshot(cordial_sandbox: SandboxProcess, now: str, known: int) -> None:
    cordial_sandbox.control.clock(now=now, stopped=True)
    days = {"selected_timeframe_start": "2026-11-09", "selected_timeframe_end": "2026-11-13"}
    header, row = read_rows(cordial_sandbox, export(cordial_sandbox, **days))
    assert len(header) == len(row) == 6
    assert [bool(cell) for cell in row[1:]] == [n < known for n in range(5)]
    snapshots = cordial_sandbox.control.snapshots(audience="opened_last_30_days", start="2026-11-09", end="2026-11-13")
    assert [one["contacts"] is not None for one in snapshots] == [n < known for n in range(5)]
    cordial_sandbox.control.behaviour(future_days="omit")
    header, row = read_rows(cordial_sandbox, export(cordial_sandbox, **days))
    assert len(header) == len(row) == known + 1
    assert all(row)


def test_times_of_jobs_are_those_of_the_clock(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.clock(now="2031-05-06T07:08:09", stopped=True)
    job = export(cordial_sandbox)
    url = f"{cordial_sandbox.url}/v2/jobs/{job['id']}"
    times = requests.get(url, auth=(cordial_sandbox.api_key, ""), timeout=5).json()["times"]
    assert times == {"start": "2031-05-06T07:08:09+0000", "end": "2031-05-06T07:08:09+0000"}


def test_the_clock_moves_stops_starts_and_is_reset(cordial_sandbox: SandboxProcess) -> None:
    control = cordial_sandbox.control
    assert control.clock(now="2030-01-01T00:00:00", stopped=True)["now"] == "2030-01-01T00:00:00+00:00"
    assert control.clock(move=DAY) == {"now": "2030-01-02T00:00:00+00:00", "stopped": True, "is_real": False}
    assert control.clock(move=-3600)["now"] == "2030-01-01T23:00:00+00:00"
    assert control.clock(stopped=False)["stopped"] is False
    first = control.clock()["now"]
    assert first > "2030-01-01T23:00:00"
    assert control.clock()["now"] > first
    control.reset_clock()
    assert control.clock()["is_real"]


@pytest.mark.parametrize("change", [{"now": "x"}, {"now": "0001-01-01T00:00:00"}, {"move": 1e300}, {"other": 1}])
def test_impossible_times_are_rejected(cordial_sandbox: SandboxProcess, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.clock(**change)
    assert cordial_sandbox.control.clock()["now"] < "2100"


def test_the_clock_survives_a_kill(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path) as sandbox:
        sandbox.control.clock(now="2030-01-01T00:00:00", stopped=True)
        sandbox.kill()
        sandbox.start()
        assert sandbox.control.clock()["now"] == "2030-01-01T00:00:00+00:00"


def test_files_expire_after_30_days_and_jobs_after_60(cordial_sandbox: SandboxProcess) -> None:
    job = export(cordial_sandbox)
    (running,) = cordial_sandbox.control.add_jobs(1, shortest=1000, longest=1000)
    file = cordial_sandbox.data / job["delivered_to"]
    cordial_sandbox.control.clock(move=29 * DAY)
    assert file.exists()
    cordial_sandbox.control.clock(move=2 * DAY)
    assert not file.exists()
    assert cordial_sandbox.control.job(job["id"])["reason"] == "The file was deleted after 30 days."
    cordial_sandbox.control.clock(move=30 * DAY)
    assert [one["id"] for one in cordial_sandbox.control.jobs()] == [running]


def test_jobs_remain_visible_when_the_clock_is_set_back(cordial_sandbox: SandboxProcess) -> None:
    job = export(cordial_sandbox)
    cordial_sandbox.control.clock(move=-DAY)
    auth = (cordial_sandbox.api_key, "")
    listed = requests.get(f"{cordial_sandbox.url}/v2/jobs", auth=auth, timeout=5).json()
    assert [one["_id"] for one in listed] == [job["id"]]


def test_reset_deletes_the_files_of_the_jobs_page(cordial_sandbox: SandboxProcess) -> None:
    file = cordial_sandbox.data / export(cordial_sandbox)["delivered_to"]
    assert file.exists()
    cordial_sandbox.control.reset()
    assert not file.exists()


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "sandbox.sqlite") as database:
        database.execute("CREATE TABLE facts (key VARCHAR PRIMARY KEY, value JSON NOT NULL)")
    database.close()
    with pytest.raises(RuntimeError, match="written by another version of the sandbox"):
        SandboxProcess(tmp_path).start()
    assert "Traceback" not in (tmp_path / "sandbox.log").read_text()
