"""Fill an account, so that its pages have something to show."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cordial_sandbox.control_client import SandboxControl
from cordial_sandbox.servers.sftp import FOLDER

_AUDIENCES = ["opened_last_30_days", "clicked_last_30_days", 'Käufer, "Gold"']


def fill(address: Mapping[str, Any]) -> None:
    """Submit exports to a running sandbox as a client does: most succeed, one fails, one does not end."""
    control = SandboxControl.at(address)
    control.fate(name="demo-fails-*", fails_with="Login failed.")
    control.fate(name="demo-hangs-*", stays_in="Processing")
    control.fate(name="demo-sftp-3", missing_days=[str(_day(3))])
    sftp = address["sftp"]
    delivered = {
        "type": "sftp",
        "server": sftp["host"],
        "port": sftp["port"],
        "username": sftp["username"],
        "password": sftp["password"],
        "path": FOLDER,
    }
    for n in range(1, 8):
        _export(address, f"demo-sftp-{n}", delivered, _day(n), _day(1))
    _export(address, "demo-jobs-page", {"type": "aws"}, _day(365), _day(1))
    _export(address, "demo-fails-1", delivered, _day(1), _day(1))
    _export(address, "demo-hangs-1", {"type": "aws"}, _day(1), _day(1))
    control.fault("list_jobs", "answer", status=503, times=3)


def _day(before: int) -> Any:
    return datetime.now(UTC).date() - timedelta(days=before)


def _export(address: Mapping[str, Any], name: str, destination: Mapping[str, Any], start: Any, end: Any) -> None:
    body = {
        "name": name,
        "exportType": "csv",
        "audiences": _AUDIENCES,
        "selected_timeframe_start": str(start),
        "selected_timeframe_end": str(end),
        "destination": destination,
    }
    key = base64.b64encode(f"{address['api_key']}:".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - the sandbox's own address
        f"{address['url']}/v2/audiencetrendsexport",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Basic {key}", "Content-Type": "application/json"},
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()
