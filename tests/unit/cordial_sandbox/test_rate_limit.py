"""The sandbox's rate limits, over real HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.rate_limit import Windows
from tests.helpers.sandbox import export_body

HEADERS = {"X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset", "Retry-After"}


def ask(sandbox: SandboxProcess, path: str = "/v2/jobs", **options: Any) -> requests.Response:
    return requests.get(sandbox.url + path, timeout=10, **{"auth": (sandbox.api_key, ""), **options})


def export(sandbox: SandboxProcess) -> requests.Response:
    url = f"{sandbox.url}/v2/audiencetrendsexport"
    return requests.post(url, json=export_body(), auth=(sandbox.api_key, ""), timeout=10)


def told(answer: requests.Response) -> set[str]:
    return {name for name in HEADERS if name in answer.headers}


def test_what_is_over_the_limit_is_refused(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=2)
    assert [ask(cordial_sandbox).status_code for _ in range(2)] == [200, 200]
    refused = ask(cordial_sandbox)
    assert (refused.status_code, refused.json()) == (429, {"error": True, "message": "Too many requests."})
    assert (refused.headers["X-Rate-Limit-Limit"], refused.headers["X-Rate-Limit-Remaining"]) == ("2", "0")
    assert refused.headers["Retry-After"] == refused.headers["X-Rate-Limit-Reset"]
    assert 50 < int(refused.headers["Retry-After"]) <= 60


def test_each_kind_of_request_has_a_limit_of_its_own(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    for expected in (200, 429):
        answer = export(cordial_sandbox)
        job_id = answer.json().get("jobId", "any")
        assert answer.status_code == expected
        assert ask(cordial_sandbox).status_code == expected
        assert ask(cordial_sandbox, f"/v2/jobs/{job_id}").status_code == expected


def test_an_export_that_is_refused_makes_no_job(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    assert [export(cordial_sandbox).status_code for _ in range(3)] == [200, 429, 429]
    assert len(cordial_sandbox.control.jobs()) == 1


def test_a_request_that_is_refused_is_noted(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    for _ in range(2):
        ask(cordial_sandbox)
    assert [one["status"] for one in cordial_sandbox.control.requests()] == [200, 429]


def test_who_waits_as_long_as_told_is_served(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1, rate_limit_period=0.7)
    ask(cordial_sandbox)
    refused = ask(cordial_sandbox)
    assert refused.headers["Retry-After"] == "1"
    time.sleep(1)
    assert ask(cordial_sandbox).status_code == 200


def test_only_a_refusal_tells_of_the_limit(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    assert told(ask(cordial_sandbox)) == set()
    assert told(ask(cordial_sandbox)) == HEADERS


def test_every_answer_may_tell_of_the_limit(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=3, rate_limit_headers="always")
    answers = [ask(cordial_sandbox), ask(cordial_sandbox, params={"page": 0}), ask(cordial_sandbox)]
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert [told(answer) for answer in answers] == [HEADERS - {"Retry-After"}] * 3
    assert [answer.headers["X-Rate-Limit-Remaining"] for answer in answers] == ["2", "1", "0"]


def test_who_has_no_key_uses_nothing_up(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(rate_limit=1)
    assert [ask(cordial_sandbox, auth=None).status_code for _ in range(2)] == [401, 401]
    assert ask(cordial_sandbox).status_code == 200


def test_a_reset_begins_anew(cordial_sandbox: SandboxProcess) -> None:
    for _ in range(2):
        cordial_sandbox.control.reset()
        cordial_sandbox.control.behaviour(rate_limit=1)
        assert ask(cordial_sandbox).status_code == 200


@pytest.mark.parametrize("changes", [{"rate_limit": 0}, {"rate_limit_period": 0}, {"rate_limit_headers": "never"}])
def test_what_is_no_limit_is_refused(cordial_sandbox: SandboxProcess, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.behaviour(**changes)


@pytest.mark.parametrize(("moment", "reset"), [(1000.3, 60), (1000.4, 60), (1059.3, 1), (1060.29, 1), (1060.3, 60)])
def test_the_time_to_the_next_period_is_in_whole_seconds_and_never_short(moment: float, reset: int) -> None:
    windows = Windows()
    windows.count("list_jobs", 1, 60, 1000.3)
    assert windows.count("list_jobs", 1, 60, moment).reset == reset
