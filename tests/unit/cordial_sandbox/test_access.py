"""Who may use the sandbox: foreign web pages may not, and other machines need a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from cordial_sandbox.access import is_loopback
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.serve import requires_token
from cordial_sandbox.settings import Settings
from tests.helpers.sandbox import export_body

TOKEN = "control-token-of-the-test"


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
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_sandbox/reset"),
        ("GET", "/_sandbox/requests"),
        ("PATCH", "/_sandbox/behaviour"),
        ("POST", "/faults"),
        ("GET", "/jobs"),
        ("GET", "/openapi.json"),
        # A browser may have stored the key, which a form can then use.
        ("POST", "/v2/audiencetrendsexport"),
        ("GET", "/v2/jobs"),
    ],
)
def test_a_foreign_page_changes_and_reads_nothing(
    cordial_sandbox: SandboxProcess, headers: dict[str, str], method: str, path: str
) -> None:
    cordial_sandbox.control.add_jobs(1, shortest=60, longest=60)
    answer = requests.request(
        method,
        cordial_sandbox.url + path,
        json=export_body(),
        headers=headers,
        auth=(cordial_sandbox.api_key, ""),
        timeout=10,
    )
    # uvicorn itself may reject an invalid Host.
    assert answer.status_code in (400, 403)
    assert len(cordial_sandbox.control.jobs()) == 1


def test_requests_of_this_machine_are_accepted(cordial_sandbox: SandboxProcess) -> None:
    port = urlsplit(cordial_sandbox.url).port
    for headers in (
        {},
        {"Origin": cordial_sandbox.url},
        {"Host": f"localhost:{port}"},
        {"Host": f"[::1]:{port}"},
        {"Host": "cordial"},
    ):
        answer = requests.get(f"{cordial_sandbox.url}/_sandbox/jobs", headers=headers, timeout=10)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True), ("cordial", True)],
)
def test_a_sandbox_that_other_machines_reach_requires_a_token(host: str, expected: bool) -> None:
    assert is_loopback(host) is not expected
    assert requires_token(Settings(data=Path(), host=host)) is expected


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """A sandbox with a token, under a name of its own."""
    options = ["--control-token", TOKEN, "--allow-host", "cordial.example.com"]
    with SandboxProcess(tmp_path_factory.mktemp("guarded"), job_seconds=0.1, options=options) as sandbox:
        yield sandbox


PROTECTED = ["/", "/jobs", "/faults", "/requests", "/_sandbox/jobs", "/_sandbox/behaviour", "/_sandbox/no-such-path"]


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Digest {TOKEN}"},
        {"Authorization": "Basic ="},
        {"Authorization": "Basic \xfc"},
    ],
    ids=str,
)
def test_without_the_token_nothing_is_served(guarded: SandboxProcess, path: str, headers: dict[str, str]) -> None:
    answer = requests.get(guarded.url + path, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (401, True)
    # So that a browser asks for it.
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("path", PROTECTED[:-1])
def test_the_token_opens_pages_and_control_api(guarded: SandboxProcess, path: str) -> None:
    bearer = requests.get(guarded.url + path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    password = requests.get(guarded.url + path, auth=("anyone", TOKEN), timeout=10)
    assert (bearer.status_code, password.status_code) == (200, 200)


def test_a_foreign_page_cannot_use_the_token_of_the_browser(guarded: SandboxProcess) -> None:
    answer = requests.post(
        f"{guarded.url}/_sandbox/reset", auth=("", TOKEN), headers={"Origin": "https://evil.example"}, timeout=10
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/_sandbox/health", "/_sandbox/ready", "/openapi.json"])
def test_a_supervisor_and_the_contract_need_no_token(guarded: SandboxProcess, path: str) -> None:
    assert requests.get(guarded.url + path, timeout=10).status_code == 200


def test_the_api_needs_a_key_and_no_token(guarded: SandboxProcess) -> None:
    headers = {"Host": "cordial.example.com"}
    url = f"{guarded.url}/v2/jobs"
    assert requests.get(url, auth=(guarded.api_key, ""), headers=headers, timeout=10).status_code == 200
    assert requests.get(url, auth=("", TOKEN), headers=headers, timeout=10).status_code == 401
    assert guarded.control.jobs() == []
