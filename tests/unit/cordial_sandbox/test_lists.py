"""Test the order, the completeness, the page size, and the speed of the job list."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess

List = Callable[..., list[str]]


@pytest.fixture
def listed(cordial_sandbox: SandboxProcess) -> List:
    """Return a function that returns the ids on a page of the list."""

    def list_ids(**params: Any) -> list[str]:
        url = f"{cordial_sandbox.url}/v2/jobs"
        response = requests.get(url, params=params, auth=(cordial_sandbox.api_key, ""), timeout=10)
        assert response.status_code == 200, response.text
        return [record["_id"] for record in response.json()]

    return list_ids


def add_running_jobs(sandbox: SandboxProcess, count: int) -> list[str]:
    """Add jobs that do not end during a test; return their ids, oldest first."""
    return sandbox.control.add_jobs(count, shortest=1000, longest=1000)


def test_list_order_is_configurable(cordial_sandbox: SandboxProcess, listed: List) -> None:
    ids = add_running_jobs(cordial_sandbox, 5)
    assert listed(per_page=2) == [ids[4], ids[3]]
    cordial_sandbox.control.behaviour(list_order="oldest")
    assert listed(per_page=2) == ids[:2]
    assert listed(per_page=2, page=3) == ids[4:]


def test_max_per_page_limits_the_page_size(cordial_sandbox: SandboxProcess, listed: List) -> None:
    newest_first = add_running_jobs(cordial_sandbox, 5)[::-1]
    cordial_sandbox.control.behaviour(max_per_page=2)
    assert [listed(per_page=4, page=page) for page in (1, 2, 3, 4)] == [
        newest_first[:2],
        newest_first[2:4],
        newest_first[4:],
        [],
    ]
    assert listed(per_page=1) == newest_first[:1]


def test_old_jobs_are_hidden_from_the_list(cordial_sandbox: SandboxProcess, listed: List) -> None:
    oldest, *newer = add_running_jobs(cordial_sandbox, 3)
    cordial_sandbox.control.behaviour(list_tells=2)
    assert listed() == newer[::-1]
    assert listed(per_page=2, page=2) == []
    url = f"{cordial_sandbox.url}/v2/jobs/{oldest}"
    assert requests.get(url, auth=(cordial_sandbox.api_key, ""), timeout=10).status_code == 200


def test_filters_do_not_find_hidden_jobs(cordial_sandbox: SandboxProcess, listed: List) -> None:
    (done,) = cordial_sandbox.control.add_jobs(1, shortest=0, longest=0)
    deadline = time.monotonic() + 20
    while listed(status="Done") != [done] and time.monotonic() < deadline:
        time.sleep(0.02)
    add_running_jobs(cordial_sandbox, 2)
    assert listed(status="Done") == [done]
    cordial_sandbox.control.behaviour(list_tells=2)
    assert listed(status="Done") == []


def test_filtered_lists_have_pages(cordial_sandbox: SandboxProcess, listed: List) -> None:
    found = add_running_jobs(cordial_sandbox, 3)
    cordial_sandbox.control.add_jobs(2, shortest=0, longest=0)
    deadline = time.monotonic() + 20
    while len(listed(status="Done")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert listed(status="Scheduled", per_page=2) == [found[2], found[1]]
    assert listed(status="Scheduled", per_page=2, page=2) == [found[0]]


def test_page_of_ten_thousand_jobs_is_fast(cordial_sandbox: SandboxProcess) -> None:
    add_running_jobs(cordial_sandbox, 10_000)
    params: dict[str, Any] = {"per_page": 100, "page": 50, "status": "Scheduled"}
    durations = []
    for _ in range(15):
        started = time.monotonic()
        response = requests.get(
            f"{cordial_sandbox.url}/v2/jobs", params=params, auth=(cordial_sandbox.api_key, ""), timeout=10
        )
        durations.append(time.monotonic() - started)
        assert len(response.json()) == 100
    assert statistics.median(durations) < 0.05


@pytest.mark.parametrize("name", ["page", "per_page"])
def test_numbers_out_of_range_are_rejected(cordial_sandbox: SandboxProcess, name: str) -> None:
    url = f"{cordial_sandbox.url}/v2/jobs"
    response = requests.get(url, params={name: 10**30}, auth=(cordial_sandbox.api_key, ""), timeout=10)
    assert (response.status_code, response.json()["errorKey"]) == (422, "VALIDATION_ERROR")
