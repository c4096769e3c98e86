"""What a list of jobs need not be: whole, in any order, or as long as asked for; and that a long one is fast."""

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
    """The ids on a page of the list."""

    def ask(**params: Any) -> list[str]:
        url = f"{cordial_sandbox.url}/v2/jobs"
        answer = requests.get(url, params=params, auth=(cordial_sandbox.api_key, ""), timeout=10)
        assert answer.status_code == 200, answer.text
        return [record["_id"] for record in answer.json()]

    return ask


def waiting(sandbox: SandboxProcess, count: int) -> list[str]:
    """Jobs that do not end within any test, the oldest first."""
    return sandbox.control.add_jobs(count, shortest=1000, longest=1000)


def test_a_list_may_begin_with_the_oldest(cordial_sandbox: SandboxProcess, listed: List) -> None:
    ids = waiting(cordial_sandbox, 5)
    assert listed(per_page=2) == [ids[4], ids[3]]
    cordial_sandbox.control.behaviour(list_order="oldest")
    assert listed(per_page=2) == ids[:2]
    assert listed(per_page=2, page=3) == ids[4:]


def test_a_page_may_be_shorter_than_asked_for(cordial_sandbox: SandboxProcess, listed: List) -> None:
    newest_first = waiting(cordial_sandbox, 5)[::-1]
    cordial_sandbox.control.behaviour(max_per_page=2)
    assert [listed(per_page=4, page=page) for page in (1, 2, 3, 4)] == [
        newest_first[:2],
        newest_first[2:4],
        newest_first[4:],
        [],
    ]
    assert listed(per_page=1) == newest_first[:1]


def test_a_list_may_not_tell_of_old_jobs(cordial_sandbox: SandboxProcess, listed: List) -> None:
    oldest, *newer = waiting(cordial_sandbox, 3)
    cordial_sandbox.control.behaviour(list_tells=2)
    assert listed() == newer[::-1]
    assert listed(per_page=2, page=2) == []
    url = f"{cordial_sandbox.url}/v2/jobs/{oldest}"
    assert requests.get(url, auth=(cordial_sandbox.api_key, ""), timeout=10).status_code == 200


def test_a_filter_does_not_find_what_the_list_does_not_tell_of(cordial_sandbox: SandboxProcess, listed: List) -> None:
    (done,) = cordial_sandbox.control.add_jobs(1, shortest=0, longest=0)
    deadline = time.monotonic() + 20
    while listed(status="Done") != [done] and time.monotonic() < deadline:
        time.sleep(0.02)
    waiting(cordial_sandbox, 2)
    assert listed(status="Done") == [done]
    cordial_sandbox.control.behaviour(list_tells=2)
    assert listed(status="Done") == []


def test_what_a_filter_finds_has_pages(cordial_sandbox: SandboxProcess, listed: List) -> None:
    found = waiting(cordial_sandbox, 3)
    cordial_sandbox.control.add_jobs(2, shortest=0, longest=0)
    deadline = time.monotonic() + 20
    while len(listed(status="Done")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert listed(status="Scheduled", per_page=2) == [found[2], found[1]]
    assert listed(status="Scheduled", per_page=2, page=2) == [found[0]]


def test_a_page_out_of_ten_thousand_jobs_takes_no_longer_for_them(cordial_sandbox: SandboxProcess) -> None:
    waiting(cordial_sandbox, 10_000)
    params: dict[str, Any] = {"per_page": 100, "page": 50, "status": "Scheduled"}
    took = []
    for _ in range(15):
        asked = time.monotonic()
        answer = requests.get(
            f"{cordial_sandbox.url}/v2/jobs", params=params, auth=(cordial_sandbox.api_key, ""), timeout=10
        )
        took.append(time.monotonic() - asked)
        assert len(answer.json()) == 100
    assert statistics.median(took) < 0.05


@pytest.mark.parametrize("name", ["page", "per_page"])
def test_a_number_beyond_all_jobs_is_refused(cordial_sandbox: SandboxProcess, name: str) -> None:
    url = f"{cordial_sandbox.url}/v2/jobs"
    answer = requests.get(url, params={name: 10**30}, auth=(cordial_sandbox.api_key, ""), timeout=10)
    assert (answer.status_code, answer.json()["errorKey"]) == (422, "VALIDATION_ERROR")
