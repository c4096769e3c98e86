"""The export of the Account Monitor's logs.

Source: the v2 Swagger document's ``SourceAccountMonitorExport``, and Cordial, "Export Account Monitor error logs API".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cordial_sandbox.accounts import Account
from cordial_sandbox.exports.kind import Content, ExportKind, Rendered
from cordial_sandbox.exports.records import write_records
from cordial_sandbox.validation import check_choice, check_types, parse_moment, parse_timeframe

_TYPES = {
    "selected_timeframe_start": "string",
    "selected_timeframe_end": "string",
    "selected_category": "string",
    "selected_level": "string",
    "limitRecordsPerFile": "count",
    "compress": "boolean",
    "confirmEmail": "email",
}
_LEVELS = ("Debug", "Info", "Warning", "Error")


def parse(body: Mapping[str, Any], _account: Account) -> Mapping[str, Any]:
    check_types(body, _TYPES)
    check_choice(body, "selected_level", _LEVELS)
    start, end = parse_timeframe(body, parse_moment, 400)
    return {
        **{member: body[member] for member in _TYPES if member in body},
        "selected_timeframe_start": start.isoformat(),
        "selected_timeframe_end": end.isoformat(),
    }


def render(request: Mapping[str, Any], content: Content) -> Rendered:
    start = datetime.fromisoformat(request["selected_timeframe_start"]).strftime("%Y-%m-%dT%H:%M:%S%z")
    levels = [request["selected_level"]] if "selected_level" in request else _LEVELS
    category = request.get("selected_category", "API")
    logs = [
        {"time": start, "level": level, "category": category, "message": f"Example of the level {level}."}
        for level in levels
    ]
    return write_records(logs, ("time", "level", "category", "message"), request, content)


ACCOUNT_MONITOR = ExportKind(
    path="accountmonitorexport",
    types=("json",),
    parse=parse,
    render=render,
    job_name="ExportClientsLogs",
    default_type="json",
    members=frozenset(_TYPES),
)
