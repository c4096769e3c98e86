"""Test the rate limits over real HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.rate_limit import Windows
from tests.helpers.sandbox import export_body

HEADERS = {"X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset", "Retry-After"}


def get(sandbox: SandboxProcess, path: str = "/v2/jobs", **options: Any) -> requests.Response:
    return requests.get(sandbox.url + path, timeout=10, **{"auth": (sandbox.api_key, ""), **options})


def export(sandbox: SandboxProcess) -> requests.Response:
    url = f"{sandbox.url}/v2/audiencetrendsexport"
    return requests.post(url, json=export_body(), auth=(sandbox.api_key, ""), timeout=10)


def limit_headers(response: requests.Response) -> set[str]:
    return {name for name in HEADERS if name in response.headers}


def test_requests_above_the_limit_are_rejected(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=2)
    assert [get(cordial_sandbox).status_code for _ in range(2)] == [200, 200]
    rejected = get(cordial_sandbox)
    assert (rejected.status_code, rejected.json()) == (429, {"error": True, "message": "Too many requests."})
    assert (rejected.headers["X-Rate-Limit-Limit"], rejected.headers["X-Rate-Limit-Remaining"]) == ("2", "0")
    assert rejected.headers["Retry-After"] == rejected.headers["X-Rate-Limit-Reset"]
    assert 50 < int(rejected.headers["Retry-After"]) <= 60


def test_each_kind_of_request_has_its_own_limit(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    for expected in (200, 429):
        response = export(cordial_sandbox)
        job_id = response.json().get("jobId", "any")
        assert response.status_code == expected
        assert get(cordial_sandbox).status_code == expected
        assert get(cordial_sandbox, f"/v2/jobs/{job_id}").status_code == expected


def test_rejected_export_creates_no_job(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    assert [export(cordial_sandbox).status_code for _ in range(3)] == [200, 429, 429]
    assert len(cordial_sandbox.control.jobs()) == 1


def test_rejected_requests_are_recorded(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    for _ in range(2):
        get(cordial_sandbox)
    assert [one["status"] for one in cordial_sandbox.control.requests()] == [200, 429]


def test_request_after_retry_after_is_accepted(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1, rate_limit_period=0.7)
    get(cordial_sandbox)
    rejected = get(cordial_sandbox)
    assert rejected.headers["Retry-After"] == "1"
    time.sleep(1)
    assert get(cordial_sandbox).status_code == 200


def test_only_rejections_have_the_headers_by_default(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    assert limit_headers(get(cordial_sandbox)) == set()
    assert limit_headers(get(cordial_sandbox)) == HEADERS


def test_every_response_can_have_the_headers(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=3, rate_limit_headers="always")
    responses = [get(cordial_sandbox), get(cordial_sandbox, params={"page": 0}), get(cordial_sandbox)]
    assert [response.status_code for response in responses] == [200, 422, 200]
    assert [limit_headers(response) for response in responses] == [HEADERS - {"Retry-After"}] * 3
    assert [response.headers["X-Rate-Limit-Remaining"] for response in responses] == ["2", "1", "0"]


def test_unauthorized_requests_do_not_count(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    assert [get(cordial_sandbox, auth=None).status_code for _ in range(2)] == [401, 401]
    assert get(cordial_sandbox).status_code == 200


def test_reset_clears_the_counts(cordial_sandbox: SandboxProcess) -> None:
    for _ in range(2):
        cordial_sandbox.control.reset()
        cordial_sandbox.control.behaviour(rate_limit=1)
        assert get(cordial_sandbox).status_code == 200


@pytest.mark.parametrize("changes", [{"rate_limit": 0}, {"rate_limit_period": 0}, {"rate_limit_headers": "never"}])
def test_invalid_limits_are_rejected(cordial_sandbox: SandboxProcess, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.behaviour(**changes)


@pytest.mark.parametrize(("moment", "reset"), [(1000.3, 60), (1000.4, 60), (1059.3, 1), (1060.29, 1), (1060.3, 60)])
def test_reset_time_is_rounded_up_to_whole_seconds(moment: float, reset: int) -> None:
    windows = Windows()
    windows.count("list_jobs", 1, 60, 1000.3)
    assert windows.count("list_jobs", 1, 60, moment).reset == reset
