"""The export of message analytics.

Source: the v2 Swagger document's ``SourceAnalyticsMessage``, and Cordial, "Message analytics export API".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cordial_sandbox.accounts import Account
from cordial_sandbox.exports.kind import Content, ExportKind, Rendered
from cordial_sandbox.exports.records import choose_columns, write_records
from cordial_sandbox.validation import MAX_NAME, ApiError, check_choice, check_types, parse_moment, parse_timeframe

_TYPES = {
    "fileName": "string",
    "selected_timeframe_start": "string",
    "selected_timeframe_end": "string",
    "type": "string",
    "selected_channel": "string",
    "selected_message_name": "string",
    "selected_message_tags": "strings",
    "selected_message_tags_operator": "string",
    "selected_orchestration_name": "string",
    "selected_orchestration_id": "string",
    "selected_audience_names": "strings",
    "selected_audience_ids": "strings",
    "columnHeaders": "columns",
    "showHeader": "boolean",
    "confirmEmail": "email",
    "limitRecordsPerFile": "count",
    "compress": "boolean",
    "rollupAutomations": "boolean",
    "viewMode": "string",
    "includeTotalsRow": "boolean",
}
_COLUMNS = ("messageName", "sent", "opens", "clicks")


def parse(body: Mapping[str, Any], account: Account) -> Mapping[str, Any]:
    check_types(body, _TYPES)
    start, end = parse_timeframe(body, parse_moment, 400)
    check_choice(body, "type", ("all", "both", "batch", "automation", "orchestration"))
    check_choice(body, "selected_message_tags_operator", ("any", "all"))
    check_choice(body, "viewMode", ("by_message", "by_message_type", "as_total"))
    file_name = body.get("fileName", "")
    if re.search(r"[/\x00-\x1f]", file_name) or len(file_name.encode()) > MAX_NAME or file_name in (".", ".."):
        raise ApiError(400, "The fileName is invalid.")  # inferred
    for audience in body.get("selected_audience_names", ()):
        if audience not in account.audiences_by_name:
            raise ApiError(400, f"Audience with name: '{audience}' does not exist.")
    return {
        **{member: body[member] for member in _TYPES if member in body},
        "selected_timeframe_start": start.isoformat(),
        "selected_timeframe_end": end.isoformat(),
    }


def render(request: Mapping[str, Any], content: Content) -> Rendered:
    messages: list[dict[str, Any]] = [
        {"messageName": f"Message {number}", "sent": 1_000 * number, "opens": 210 * number, "clicks": 30 * number}
        for number in range(1, 6)
    ]
    if request.get("includeTotalsRow"):
        totals = {column: sum(message[column] for message in messages) for column in _COLUMNS[1:]}
        messages.append({"messageName": "Total", **totals})
    return write_records(messages, choose_columns(request, _COLUMNS), request, content)


MESSAGE_ANALYTICS = ExportKind(
    path="messageanalyticsexport",
    types=("csv", "json"),
    parse=parse,
    render=render,
    job_name="ExportMessageAnalytics",
    name_pattern=None,
    default_type="csv",
    members=frozenset(_TYPES),
)
