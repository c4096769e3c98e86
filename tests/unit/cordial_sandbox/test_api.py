"""Test the documented API over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body

Call = Callable[..., requests.Response]


@pytest.fixture
def call(cordial_sandbox: SandboxProcess) -> Call:
    def send(method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("auth", (cordial_sandbox.api_key, ""))
        return requests.request(method, cordial_sandbox.url + path, timeout=10, **options)

    return send


def export(call: Call, **changes: Any) -> str:
    response = call("POST", "/v2/audiencetrendsexport", json=export_body(**changes))
    assert response.status_code == 200, response.text
    job_id: str = response.json()["jobId"]
    assert len(job_id) == 24
    int(job_id, 16)
    return job_id


def wait_until_ended(call: Call, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        record: dict[str, Any] = call("GET", f"/v2/jobs/{job_id}").json()
        if record["status"] in ("Done", "Failed"):
            return record
        time.sleep(0.02)
    pytest.fail(f"job {job_id} did not end: {record}")


@pytest.mark.parametrize("path", ["/v2/jobs", "/v2/jobs/1", "/v2/nothing"])
@pytest.mark.parametrize(
    "options",
    [
        {"auth": None},
        {"auth": ("wrong", "")},
        {"auth": ("cordial-sandbox-key", "password")},
        {"auth": None, "headers": {"Authorization": "Basic not-base-64"}},
        {"auth": None, "headers": {"Authorization": "Bearer cordial-sandbox-key"}},
    ],
)
def test_wrong_credentials_are_rejected(call: Call, path: str, options: dict[str, Any]) -> None:
    response = call("GET", path, **options)
    assert (response.status_code, response.json()) == (401, {"error": "Access Denied: Authentication Failure"})


def test_wrong_media_types_and_invalid_json_are_rejected(call: Call) -> None:
    response = call("POST", "/v2/audiencetrendsexport", data="x", headers={"Content-Type": "text/plain"})
    assert (response.status_code, response.json()["errorKey"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert response.json()["message"] == (
        "Unsupported Media Type: Content-Type header must be application/json or application/x-www-form-urlencoded."
    )
    for data in ("{", "[]", "null"):
        response = call("POST", "/v2/audiencetrendsexport", data=data, headers={"Content-Type": "application/json"})
        assert (response.status_code, response.json()["errorKey"]) == (400, "INVALID_JSON_PROVIDED")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"exportType": "json"}, 406),
        ({"name": "a b"}, 406),
        ({"compress": True}, 406),
        (
            {
                "destination": {
                    "type": "sftp",
                    "server": "h",
                    "username": "u",
                    "password": "p",
                    "path": "x",
                    "port": "ssh",
                }
            },
            400,
        ),
        ({"destination": None}, 400),
    ],
)
def test_invalid_bodies_are_rejected(call: Call, changes: dict[str, Any], status: int) -> None:
    response = call("POST", "/v2/audiencetrendsexport", json=export_body(**changes))
    assert (response.status_code, response.json()["error"], response.json()["errorKey"]) == (
        status,
        True,
        "GENERIC_ERROR_KEY",
    )


def test_uppercase_types_and_string_ports_are_accepted(call: Call) -> None:
    assert wait_until_ended(call, export(call, destination={"type": "AWS"}))["status"] == "Done"
    destination = {"type": "SFTP", "server": "127.0.0.1", "port": "9", "username": "u", "password": "p", "path": "x"}
    assert wait_until_ended(call, export(call, destination=destination))["status"] == "Failed"


def test_job_passes_through_all_statuses(call: Call, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_seconds=0.9)
    job_id = export(call)
    seen: list[str] = []
    while not seen or seen[-1] != "Done":
        status = call("GET", f"/v2/jobs/{job_id}").json()["status"]
        seen += [status] if status not in seen[-1:] else []
    assert seen == ["Scheduled", "Pending", "Processing", "Done"]
    record = wait_until_ended(call, job_id)
    assert record["metadata"] == {"exportType": "csv", "name": "trends-1"}
    for edge in ("start", "end"):
        assert abs(datetime.now(UTC) - datetime.strptime(record["times"][edge], "%Y-%m-%dT%H:%M:%S%z")) < timedelta(
            minutes=1
        )


def test_fields_are_selected_and_unknown_jobs_are_not_found(call: Call) -> None:
    job_id = export(call)
    assert set(call("GET", f"/v2/jobs/{job_id}?fields=status,jobName,run").json()) == {"status", "jobName"}
    response = call("GET", "/v2/jobs/nope")
    assert response.status_code == 404
    assert response.json() == {"error": True, "errorKey": "RECORD_NOT_FOUND", "message": "record not found"}


def test_list_has_pages_and_filters(call: Call, cordial_sandbox: SandboxProcess) -> None:
    ids = [export(call, name=f"t-{n}") for n in range(4)]
    for job_id in ids:
        wait_until_ended(call, job_id)
    cordial_sandbox.control.behaviour(job_fails_with="no")
    failed = export(call, name="t-4")
    wait_until_ended(call, failed)

    def listed(**params: Any) -> list[str]:
        response = call("GET", "/v2/jobs", params=params)
        assert response.status_code == 200, response.text
        return [record["_id"] for record in response.json()]

    newest_first = [failed, *ids[::-1]]
    assert listed() == newest_first
    assert listed(per_page=2) == newest_first[:2]
    assert listed(per_page=2, page=3) == newest_first[4:]
    assert listed(page=9) == []
    assert listed(status="Failed") == [failed]
    assert listed(status="Pending") == []
    assert listed(jobName="SandboxAudienceTrendsExport") == newest_first
    assert listed(jobName="ExportContacts") == []
    hour_ago, tomorrow = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(days=1)
    assert (
        listed(**{"times[start][gte]": hour_ago.isoformat(), "times[end][lt]": tomorrow.strftime("%m-%d-%Y")})
        == newest_first
    )
    assert listed(**{"times[start][lte]": hour_ago.isoformat()}) == []
    assert listed(**{"times[end][gt]": tomorrow.strftime("%m-%d-%Y")}) == []


def test_invalid_list_parameters_are_rejected(call: Call) -> None:
    response = call("GET", "/v2/jobs?include=statistic&per_page=26")
    assert response.status_code == 400
    assert response.json() == {
        "error": True,
        "errorKey": "JOBS_STATISTIC_PER_PAGE_EXCEEDED",
        "message": "When include=statistic is requested, per_page must not exceed 25.",
    }
    assert call("GET", "/v2/jobs?include=statistic&per_page=25").status_code == 200
    response = call("GET", "/v2/jobs", params={"times[start][gt]": "13-13-2026"})
    assert (response.status_code, response.json()["message"]) == (422, "Time value is incorrect")
    assert call("GET", "/v2/jobs?page=0").status_code == 422


def test_members_of_a_record_are_configurable(call: Call, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(record_id=None, list_names=False, failure_text=False, job_fails_with="a reason")
    record = wait_until_ended(call, export(call))
    assert "_id" not in record
    assert record["metadata"] == {"exportType": "csv"}
    assert record["result"] == {"error": 1}
    assert cordial_sandbox.control.jobs()[0]["reason"] == "a reason"
    cordial_sandbox.control.behaviour(failure_text=True)
    assert call("GET", "/v2/jobs").json()[0]["result"] == {"error": 1, "message": "a reason"}


def test_new_job_is_invisible_during_visible_after(call: Call, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(visible_after=0.4)
    job_id = export(call)
    assert call("GET", f"/v2/jobs/{job_id}").status_code == 404
    assert call("GET", "/v2/jobs").json() == []
    time.sleep(0.45)
    assert call("GET", f"/v2/jobs/{job_id}").status_code == 200


def test_job_is_held_in_any_status_and_released(call: Call, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_stays_in="Reticulating")
    job_id = export(call)
    time.sleep(0.4)
    assert call("GET", f"/v2/jobs/{job_id}").json()["status"] == "Reticulating"
    cordial_sandbox.control.behaviour(job_stays_in=None)
    assert wait_until_ended(call, job_id)["status"] == "Done"


def test_invalid_behaviour_and_faults_are_rejected(cordial_sandbox: SandboxProcess) -> None:
    before = cordial_sandbox.control.behaviour()
    for changes in ({"job_seconds": -1}, {"unknown_member": 1}, {"csv_missing": "zero"}):
        with pytest.raises(ValueError, match="422"):
            cordial_sandbox.control.behaviour(**changes)
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.fault("everything", "reset")
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.fault("any", "explode")
    assert cordial_sandbox.control.behaviour() == before


# Faults.


def test_answer_fault_applies_the_given_number_of_times(call: Call, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fault("list_jobs", "answer", status=429, headers={"Retry-After": "7"}, body="slow", times=2)
    responses = [call("GET", "/v2/jobs") for _ in range(3)]
    assert [response.status_code for response in responses] == [429, 429, 200]
    assert (responses[0].headers["Retry-After"], responses[0].text) == ("7", "slow")
    assert call("GET", "/v2/jobs/nope").status_code == 404


@pytest.mark.parametrize("processed", [True, False])
def test_reset_fault_closes_the_connection(call: Call, cordial_sandbox: SandboxProcess, processed: bool) -> None:
    cordial_sandbox.control.fault("create_export", "reset", processed=processed, times=1)
    with pytest.raises(requests.ConnectionError):
        export(call)
    assert len(cordial_sandbox.control.jobs()) == int(processed)


def test_processed_answer_fault_creates_the_job(call: Call, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fault("create_export", "answer", status=503, processed=True, times=1)
    assert call("POST", "/v2/audiencetrendsexport", json=export_body()).status_code == 503
    assert len(cordial_sandbox.control.jobs()) == 1


def test_truncate_fault_cuts_the_response(call: Call, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fault("list_jobs", "truncate", times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        call("GET", "/v2/jobs")
    assert call("GET", "/v2/jobs").json() == []


@pytest.mark.parametrize("processed", [True, False])
def test_delay_fault_delays_the_response(call: Call, cordial_sandbox: SandboxProcess, processed: bool) -> None:
    cordial_sandbox.control.fault("any", "delay", seconds=0.3, processed=processed, times=1)
    started = time.monotonic()
    assert call("GET", "/v2/jobs").status_code == 200
    assert time.monotonic() - started >= 0.3


def test_faults_can_be_cleared_and_requests_are_recorded(call: Call, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fault("any", "answer", status=500)
    assert call("GET", "/v2/jobs?page=2").status_code == 500
    cordial_sandbox.control.clear_faults()
    assert call("GET", "/v2/jobs").status_code == 200
    recorded = cordial_sandbox.control.requests()
    assert [(one["request"], one["query"], one["status"], one["fault"]) for one in recorded] == [
        ("list_jobs", "page=2", 500, "answer"),
        ("list_jobs", "", 200, None),
    ]
    assert "authorization" not in str(recorded).lower()
    cordial_sandbox.control.clear_requests()
    assert cordial_sandbox.control.requests() == []
