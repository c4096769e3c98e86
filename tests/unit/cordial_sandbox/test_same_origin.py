"""The control API against foreign web pages."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import requests

from cordial_sandbox.process import SandboxProcess


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
        {"Host": ""},
        {"Host": "[not an address"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "path"), [("POST", "reset"), ("GET", "requests"), ("PATCH", "behaviour")])
def test_a_foreign_page_changes_and_reads_nothing(
    cordial_sandbox: SandboxProcess, headers: dict[str, str], method: str, path: str
) -> None:
    cordial_sandbox.control.add_jobs(1, shortest=60, longest=60)
    answer = requests.request(method, f"{cordial_sandbox.url}/_sandbox/{path}", json={}, headers=headers, timeout=10)
    # A server may also reject an invalid Host by itself.
    assert answer.status_code in (400, 403)
    assert len(cordial_sandbox.control.jobs()) == 1


def test_requests_of_this_machine_are_accepted(cordial_sandbox: SandboxProcess) -> None:
    port = urlsplit(cordial_sandbox.url).port
    for headers in ({}, {"Origin": cordial_sandbox.url}, {"Host": f"localhost:{port}"}, {"Host": f"[::1]:{port}"}):
        answer = requests.get(f"{cordial_sandbox.url}/_sandbox/jobs", headers=headers, timeout=10)
        assert answer.status_code == 200
