"""Connections to the sandbox, and requests for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
