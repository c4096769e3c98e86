"""The fault proxy itself: each fault does what it says, so that a suite behind it tests something."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from tests.faults.proxy import Fault, FaultProxy


@pytest.fixture
def proxy(cordial: SandboxProcess) -> Iterator[FaultProxy]:
    with FaultProxy(cordial.url) as proxy:
        yield proxy


def list_jobs(proxy: FaultProxy, cordial: SandboxProcess) -> requests.Response:
    return requests.get(f"{proxy.url}/v2/jobs", auth=(cordial.api_key, ""), timeout=1)


def create_export(proxy: FaultProxy, cordial: SandboxProcess) -> requests.Response:
    body = {
        "name": "trends",
        "exportType": "csv",
        "destination": {"type": "aws"},
        "selected_timeframe_start": "2026-11-01",
        "selected_timeframe_end": "2026-11-07",
        "audiences": ["opened_last_30_days"],
    }
    return requests.post(f"{proxy.url}/v2/audiencetrendsexport", json=body, auth=(cordial.api_key, ""), timeout=5)


def test_requests_are_forwarded(proxy: FaultProxy, cordial: SandboxProcess) -> None:
    job_id = create_export(proxy, cordial).json()["jobId"]
    assert [job["id"] for job in cordial.control.jobs()] == [job_id]
    assert list_jobs(proxy, cordial).ok
    assert proxy.counts == {("create_export", "none"): 1, ("list_jobs", "none"): 1}


@pytest.mark.parametrize("arrives", [True, False])
def test_a_dropped_request_arrives_or_not(proxy: FaultProxy, cordial: SandboxProcess, *, arrives: bool) -> None:
    proxy.disrupt(lambda _kind: Fault("drop", arrives=arrives))
    with pytest.raises(requests.ConnectionError):
        create_export(proxy, cordial)
    assert len(cordial.control.jobs()) == arrives


def test_an_answer_is_truncated(proxy: FaultProxy, cordial: SandboxProcess) -> None:
    proxy.disrupt(lambda _kind: Fault("truncate"))
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        create_export(proxy, cordial)
    assert len(cordial.control.jobs()) == 1


def test_an_answer_drips(proxy: FaultProxy, cordial: SandboxProcess) -> None:
    create_export(proxy, cordial)
    proxy.disrupt(lambda _kind: Fault("drip"))
    started = time.monotonic()
    with requests.get(f"{proxy.url}/v2/jobs", auth=(cordial.api_key, ""), timeout=5, stream=True) as answer:
        assert next(answer.iter_content(2))
    assert 0.4 < time.monotonic() - started < 4


def test_an_answer_is_delayed_compressed_or_replaced(proxy: FaultProxy, cordial: SandboxProcess) -> None:
    faults = iter([Fault("delay", seconds=0.3), Fault("gzip"), Fault("answer", status=403)])
    proxy.disrupt(lambda _kind: next(faults))
    started = time.monotonic()
    assert list_jobs(proxy, cordial).ok
    assert time.monotonic() - started >= 0.3
    assert list_jobs(proxy, cordial).headers["Content-Encoding"] == "gzip"
    blocked = list_jobs(proxy, cordial)
    assert (blocked.status_code, "Request blocked" in blocked.text) == (403, True)
    proxy.heal()
    assert list_jobs(proxy, cordial).ok
