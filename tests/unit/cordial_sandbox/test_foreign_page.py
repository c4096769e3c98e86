"""Send what a foreign web page can make a browser send to every path, and compare the whole state."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import MagicMock

import pytest
import requests
from fastapi import APIRouter

from cordial_sandbox.accounts import DEFAULT_ACCOUNT
from cordial_sandbox.control import create_control_router
from cordial_sandbox.operations import EXPORTS
from cordial_sandbox.pages import create_pages_router
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body, sftp_destination

#: A foreign page, a page in a sandboxed frame, a page of another server of this machine, and a page whose name was
#: rebound to this machine.
FOREIGN: tuple[dict[str, str], ...] = (
    {"Origin": "http://attacker.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Host": "attacker.example"},
    {"Host": "attacker.example", "Origin": "http://attacker.example"},
    {"Host": ""},
)

KEY = "a-key"

#: Bodies that have an effect, by method and path.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("PATCH", "/_sandbox/behaviour"): {"json": {"job_seconds": 99}},
    ("PATCH", "/_sandbox/clock"): {"json": {"move": 99}},
    ("POST", "/_sandbox/faults"): {"json": {"request": "any", "effect": "delay"}},
    ("POST", "/_sandbox/fates"): {"json": {"fails_with": "a reason"}},
    ("POST", "/_sandbox/jobs"): {"json": {"count": 1, "shortest": 99, "longest": 99}},
    ("POST", "/faults"): {"data": {"effect": "delay"}},
    ("POST", "/faults/remove"): {"data": {"fault": "{}"}},
    ("POST", "/v2/audiencecount"): {"json": {"id": "a"}},
    **{("POST", f"/v2/{kind}"): {"json": export_body()} for kind in EXPORTS},
}


@dataclass(frozen=True, slots=True)
class Target:
    """One operation of the sandbox, with parameters that exist."""

    method: str
    path: str
    options: dict[str, Any]

    def send(self, sandbox: SandboxProcess, headers: dict[str, str]) -> requests.Response:
        # With the key: a link or a form can contain it, and a rebound page can send it. The default key is public.
        return requests.request(
            self.method,
            sandbox.url + self.path,
            headers=headers,
            auth=(sandbox.api_key, ""),
            allow_redirects=False,
            timeout=10,
            **self.options,
        )


def targets(job_id: str) -> Iterator[Target]:
    """Yield every operation; the resets are last."""
    found = [*_routes(create_control_router), *_routes(create_pages_router)]
    found += [("GET", "/openapi.json"), ("GET", "/v2/openapi.json"), ("GET", "/v2/jobs"), ("GET", "/v2/jobs/{job_id}")]
    found += [("POST", f"/v2/{operation}") for operation in (*EXPORTS, "audiencecount")]
    for method, path in sorted(found, key=lambda one: (one[1] == "/_sandbox/reset", one[1])):
        name = "style.css" if path.startswith("/pages/") else KEY + "-2"
        whole = path.format(job_id=job_id, name=name, account=DEFAULT_ACCOUNT)
        query = "?audience=opened_last_30_days&start=2026-11-01&end=2026-11-02" if path.endswith("snapshots") else ""
        yield Target(method, whole + query, BODIES.get((method, path.removeprefix("/accounts/{account}")), {}))


def _routes(create_router: Any) -> list[tuple[str, str]]:
    router: APIRouter = create_router(*(MagicMock() for _ in inspect.signature(create_router).parameters))
    return [(method, route.path) for route in router.routes for method in route.methods]  # type: ignore[attr-defined]


def read_state(sandbox: SandboxProcess) -> dict[str, Any]:
    """Return everything that a request can change."""
    control = sandbox.control
    files = {
        str(path.relative_to(sandbox.data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("vault", "downloads", "sftp")
        for path in sorted((sandbox.data / folder).rglob("*"))
        if path.is_file()
    }
    return {
        "behaviour": control.behaviour(),
        "faults": control.faults(),
        "fates": control.fates(),
        "clock": control.clock(),
        "jobs": control.jobs(),
        "requests": control.requests(),
        **{
            folder: {path: digest for path, digest in files.items() if path.startswith(folder)}
            for folder in ("vault", "downloads", "sftp")
        },
    }


@pytest.fixture
def job_id(cordial_sandbox: SandboxProcess) -> str:
    """Fill every part of the state, and return the job whose file is on the Jobs page."""
    control = cordial_sandbox.control
    control.behaviour(job_seconds=0)
    job_ids: list[str] = []
    for destination in ({"type": "aws"}, sftp_destination(cordial_sandbox)):
        answer = requests.post(
            f"{cordial_sandbox.url}/v2/audiencetrendsexport",
            json=export_body(destination=destination),
            auth=(cordial_sandbox.api_key, ""),
            timeout=10,
        )
        job_ids.append(answer.json()["jobId"])
    while not all(control.job(one)["delivered_to"] for one in job_ids):
        time.sleep(0.02)
    control.behaviour(job_name="Changed")
    control.clock(now="2026-11-20T12:00:00", stopped=True)
    control.fault("get_job", "answer", status=503)
    control.fate(name="trends-9", fails_with="a reason")
    control.create_saved_key(KEY)
    control.add_jobs(1, shortest=1000, longest=1000)
    return job_ids[0]


def test_a_foreign_page_changes_nothing(
    cordial_sandbox: SandboxProcess, job_id: str, record_property: Callable[[str, object], None]
) -> None:
    before = last = read_state(cordial_sandbox)
    sent, accepted, changed = 0, [], []
    for target in targets(job_id):
        for headers in FOREIGN:
            answer = target.send(cordial_sandbox, headers)
            sent += 1
            # uvicorn itself may reject an invalid Host.
            if answer.status_code not in (400, 403) or "access-control-allow-origin" in answer.headers:
                accepted.append((target.method, target.path, headers, answer.status_code))
        now = read_state(cordial_sandbox)
        changed += [(target.method, target.path, part) for part in now if now[part] != last[part]]
        last = now
    record_property("foreign_requests", sent)
    record_property("foreign_changes", len(changed))
    assert accepted == []
    assert changed == []
    assert last == before
    # The same requests without the headers change every part, so that the comparison proves something.
    moved = set()
    for target in targets(job_id):
        target.send(cordial_sandbox, {})
        now = read_state(cordial_sandbox)
        moved |= {part for part in now if now[part] != last[part]}
        last = now
    assert moved == set(before)
    assert sent >= 250
