"""The export of contact activity.

Source: the v2 Swagger document's ``SourceCAE``, and Cordial, "Contact activity export API".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cordial_sandbox.accounts import Account
from cordial_sandbox.exports.contacts import check_delimiter
from cordial_sandbox.exports.kind import Content, ExportKind, Rendered
from cordial_sandbox.exports.records import COUNT, choose_columns, write_records
from cordial_sandbox.validation import BAD_EXPORT, ApiError, check_choice, check_types, parse_moment, parse_timeframe

_TYPES = {
    "delimiter": "string",
    "columnHeaders": "columns",
    "showHeader": "boolean",
    "selected_timeframe_start": "string",
    "selected_timeframe_end": "string",
    "selected_action_name": "string",
    "selected_action_names": "strings",
    "selected_message_type": "string",
    "selected_message_id": "string",
    "showAllProperties": "boolean",
    "limitRecordsPerFile": "count",
    "compress": "boolean",
    "selected_contact": "string",
    "selected_audience_key": "string",
    "confirmEmail": "email",
    "additionalJsonlFields": "strings",
    "contactFields": "strings",
    "selected_channel": "string",
    "sendType": "string",
}
_COLUMNS = ("cID", "action", "time", "email")
_ACTIONS = ("message-sent", "open", "click")


def parse(body: Mapping[str, Any], account: Account) -> Mapping[str, Any]:
    check_types(body, _TYPES)
    check_delimiter(body)
    start, end = parse_timeframe(body, parse_moment)
    if {"selected_action_name", "selected_action_names"} <= body.keys():
        message = "Please use only one from existing filters 'selected_action_name' OR 'selected_action_names'"
        raise ApiError(BAD_EXPORT, message)
    if {"selected_audience_key", "selected_contact"} <= body.keys():
        # inferred from the message above
        message = "Please use only one from existing filters 'selected_audience_key' OR 'selected_contact'"
        raise ApiError(BAD_EXPORT, message)
    check_choice(body, "selected_message_type", ("batch", "automation"), BAD_EXPORT)
    check_choice(body, "sendType", ("sms", "mms"), BAD_EXPORT)
    if (audience := body.get("selected_audience_key")) is not None and audience not in account.audiences_by_name:
        raise ApiError(BAD_EXPORT, f"Audience '{audience}' does not exist.")
    return {
        **{member: body[member] for member in _TYPES if member in body},
        "selected_timeframe_start": start.isoformat(),
        "selected_timeframe_end": end.isoformat(),
    }


def render(request: Mapping[str, Any], content: Content) -> Rendered:
    start, end = (datetime.fromisoformat(request[f"selected_timeframe_{edge}"]) for edge in ("start", "end"))
    one = [request["selected_action_name"]] if "selected_action_name" in request else None
    actions = one or request.get("selected_action_names") or _ACTIONS
    activity = [
        {
            "cID": f"{number + 1:024x}",
            "action": actions[number % len(actions)],
            "time": (start + (end - start) * number / COUNT).strftime("%Y-%m-%dT%H:%M:%S%z"),
            "email": f"contact{number + 1}@example.com",
        }
        for number in range(COUNT)
    ]
    return write_records(activity, choose_columns(request, _COLUMNS), request, content)


CONTACT_ACTIVITY = ExportKind(
    path="contactactivityexport",
    types=("csv", "json", "txt"),
    parse=parse,
    render=render,
    config_status=BAD_EXPORT,
    job_name="ExportEvents",
    members=frozenset(_TYPES),
)
