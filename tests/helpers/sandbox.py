"""Connections to the sandbox, and requests for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess

SetConnection = Callable[..., str]


#: The extra of a connection to an SFTP server with an unknown host key.
NO_HOST_KEYS = {"no_host_key_check": "true", "look_for_keys": "false"}


def sftp_connection(sandbox: SandboxProcess) -> dict[str, Any]:
    """Return the fields of an Airflow connection to the sandbox's SFTP server."""
    sftp = sandbox.sftp
    return {
        "conn_type": "sftp",
        "host": sftp.host,
        "port": sftp.port,
        "login": sftp.username,
        "password": sftp.password,
        "extra": NO_HOST_KEYS,
    }


def sftp_destination(sandbox: SandboxProcess, **changes: Any) -> dict[str, Any]:
    """Return the destination of an export to the sandbox's SFTP server."""
    sftp = sandbox.sftp
    return {
        "type": "sftp",
        "server": sftp.host,
        "port": sftp.port,
        "username": sftp.username,
        "password": sftp.password,
        "path": "exports",
        **changes,
    }


def export_body(**changes: Any) -> dict[str, Any]:
    """Return the body of an export of two days to Cordial's Jobs page; members that are None are omitted."""
    whole = {
        "name": "trends-1",
        "exportType": "csv",
        "selected_timeframe_start": "2026-11-10",
        "selected_timeframe_end": "2026-11-11",
        "audiences": ["opened_last_30_days"],
        "destination": {"type": "aws"},
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def submit(sandbox: SandboxProcess, **changes: Any) -> str:
    """Submit an export without the provider, and return the id of its job."""
    response = requests.post(
        f"{sandbox.url}/v2/audiencetrendsexport", json=export_body(**changes), auth=(sandbox.api_key, ""), timeout=10
    )
    assert response.status_code == 200, response.text
    return str(response.json()["jobId"])


def wait_until_settled(sandbox: SandboxProcess, job_id: str) -> dict[str, Any]:
    """Return a job once it has no work left: its file is delivered, or it has a reason why not."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        job = sandbox.control.job(job_id)
        if job["delivered_to"] or job["reason"]:
            return job
        time.sleep(0.02)
    pytest.fail(f"job {job_id} did not settle: {job}")
