"""The client of the control API."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi.routing import APIRoute

from cordial_sandbox.account_state import Accounts
from cordial_sandbox.control import PREFIX, create_control_router
from cordial_sandbox.control_client import SandboxControl
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.vault import Vault

METHODS = {name: each for name, each in vars(SandboxControl).items() if not name.startswith("_")}

#: Arguments that a method requires.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "fault": {"request": "any", "effect": "delay"},
    "job": {"job_id": "1"},
    "add_jobs": {"count": 1, "shortest": 1, "longest": 1},
    "snapshots": {"audience": "a", "start": "2026-11-10", "end": "2026-11-10"},
    "create_saved_key": {"name": "key"},
    "import_state": {"state": {}},
}

#: Methods that read without changes and write with them.
CHANGES: dict[str, dict[str, Any]] = {"behaviour": {"job_seconds": 1}, "clock": {"move": 1}}


def test_every_route_of_the_control_api_has_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[tuple[str, str]] = set()

    def record(_self: SandboxControl, method: str, path: str, *_body: Any, **_timeout: float) -> dict[str, Any]:
        called.add((method, path.partition("?")[0]))
        return {"public_key": ""}

    monkeypatch.setattr(SandboxControl, "_call", record)
    control = SandboxControl("http://127.0.0.1:1")
    for name in (name for name, each in METHODS.items() if inspect.isfunction(each)):
        getattr(control, name)(**ARGUMENTS.get(name, {}))
        getattr(control, name)(**{**ARGUMENTS.get(name, {}), **CHANGES.get(name, {})})
    none: Any = None  # not used until a request arrives
    router = create_control_router(Accounts([]), none, SftpFolder(tmp_path), Vault(tmp_path), tmp_path)
    routes = {
        (method, route.path.removeprefix(PREFIX).replace("{job_id}", "1").replace("{name}", "key"))
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert called == routes


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(METHODS[name])


def test_reading_changes_nothing(cordial_sandbox: SandboxProcess) -> None:
    control = cordial_sandbox.control
    assert control.health() == {"status": "ok"}
    assert control.behaviour()["job_seconds"] == 0.1
    assert control.behaviour(job_seconds=1) == control.behaviour()
    assert control.clock()["is_real"]
    assert requests.get(f"{cordial_sandbox.url}/_sandbox/clock", timeout=10).json()["is_real"]
