"""Test what happens to single jobs, and the faults of single operations."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body, wait_until_settled


def export(sandbox: SandboxProcess, **changes: Any) -> str:
    url, auth = f"{sandbox.url}/v2/audiencetrendsexport", (sandbox.api_key, "")
    response = requests.post(url, json=export_body(**changes), auth=auth, timeout=10)
    assert response.status_code == 200, response.text
    return str(response.json()["jobId"])


def test_the_third_export_fails(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fate(nth=3, fails_with="Disk full")
    reasons = [wait_until_settled(cordial_sandbox, export(cordial_sandbox))["reason"] for _ in range(4)]
    assert reasons == [None, None, "Disk full", None]
    assert [fate["seen"] for fate in cordial_sandbox.control.fates()] == [4]


def test_the_file_of_one_audience_lacks_a_day(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fate(audience="purchased_last_30_days", missing_days=["2026-11-11"])
    for audience, is_missing in (("purchased_last_30_days", True), ("opened_last_30_days", False)):
        job = wait_until_settled(cordial_sandbox, export(cordial_sandbox, audiences=[audience]))
        _, row = (cordial_sandbox.data / job["delivered_to"]).read_text().splitlines()
        assert (row.split(",")[2] == "") is is_missing
        assert row.split(",")[1]


def test_one_job_hangs(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fate(name="slow-*", stays_in="Processing")
    slow, fast = export(cordial_sandbox, name="slow-1"), export(cordial_sandbox, name="fast-1")
    assert wait_until_settled(cordial_sandbox, fast)["status"] == "Done"
    time.sleep(0.3)
    assert cordial_sandbox.control.job(slow)["status"] == "Processing"


def test_fates_survive_a_kill_and_are_cleared(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fate(fails_with="no")
    cordial_sandbox.kill()
    cordial_sandbox.start()
    assert wait_until_settled(cordial_sandbox, export(cordial_sandbox))["reason"] == "no"
    cordial_sandbox.control.clear_fates()
    assert wait_until_settled(cordial_sandbox, export(cordial_sandbox))["status"] == "Done"


@pytest.mark.parametrize(
    "fate", [{}, {"nth": 0, "fails_with": "x"}, {"stays_in": "Done"}, {"kind": "x", "fails_with": "y"}]
)
def test_invalid_fates_are_rejected(cordial_sandbox: SandboxProcess, fate: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.fate(**fate)


def test_a_fault_is_not_used_up_by_a_request_without_a_key(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fault("list_jobs", "answer", status=503, times=1)
    url = f"{cordial_sandbox.url}/v2/jobs"
    assert requests.get(url, timeout=5).status_code == 401
    assert [fault["times"] for fault in cordial_sandbox.control.faults()] == [1]
    assert requests.get(url, auth=(cordial_sandbox.api_key, ""), timeout=5).status_code == 503


@pytest.mark.parametrize(
    ("request_kind", "affected"),
    [
        ("contactexports", {"contactexports"}),
        ("audiencecount", {"audiencecount"}),
        ("create_export", {"contactexports", "accountmonitorexport"}),
    ],
)
def test_faults_apply_to_one_operation(cordial_sandbox: SandboxProcess, request_kind: str, affected: set[str]) -> None:
    cordial_sandbox.control.fault(request_kind, "answer", status=599)
    auth = (cordial_sandbox.api_key, "")
    seen = {
        path
        for path in ("contactexports", "audiencecount", "accountmonitorexport")
        if requests.post(f"{cordial_sandbox.url}/v2/{path}", json={}, auth=auth, timeout=5).status_code == 599
    }
    assert seen == affected
    assert [one["operation"] for one in cordial_sandbox.control.requests()] == [
        "contactexports",
        "audiencecount",
        "accountmonitorexport",
    ]


@pytest.mark.parametrize("times", [None, 5])
def test_faults_count_their_hits_also_across_a_stop(cordial_sandbox: SandboxProcess, times: int | None) -> None:
    def send(path: str) -> None:
        requests.get(f"{cordial_sandbox.url}{path}", auth=(cordial_sandbox.api_key, ""), timeout=5)

    cordial_sandbox.control.fault("list_jobs", "answer", status=503, times=times)
    cordial_sandbox.control.fault("any", "delay")
    for path in ("/v2/jobs", "/v2/jobs/1", "/v2/jobs"):
        send(path)
    assert [fault["hits"] for fault in cordial_sandbox.control.faults()] == [2, 1]
    cordial_sandbox.stop()
    cordial_sandbox.start()
    send("/v2/jobs")
    faults = cordial_sandbox.control.faults()
    assert [(fault["hits"], fault["times"]) for fault in faults] == [(3, times and 2), (1, None)]


def test_used_up_faults_are_not_listed(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fault("list_jobs", "answer", status=503, times=1)
    requests.get(f"{cordial_sandbox.url}/v2/jobs", auth=(cordial_sandbox.api_key, ""), timeout=5)
    assert cordial_sandbox.control.faults() == []


def test_nth_export_is_found_within_one_addition(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fate(nth=3, fails_with="Disk full")
    ids = cordial_sandbox.control.add_jobs(4, shortest=0, longest=0)
    assert [wait_until_settled(cordial_sandbox, job_id)["reason"] for job_id in ids] == [None, None, "Disk full", None]
    assert [fate["seen"] for fate in cordial_sandbox.control.fates()] == [4]


def test_a_held_job_takes_its_time_after_its_release(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_stays_in="Throttled")
    job_ids = [export(cordial_sandbox), *cordial_sandbox.control.add_jobs(1, shortest=0.9, longest=0.9)]
    while any(cordial_sandbox.control.job(job_id)["status"] != "Throttled" for job_id in job_ids):
        time.sleep(0.01)
    released = time.time()
    cordial_sandbox.control.behaviour(job_stays_in=None)
    ends = [wait_until_settled(cordial_sandbox, job_id)["ended_at"] - released for job_id in job_ids]
    assert ends[0] < ends[1]
    assert ends[1] >= 0.9
