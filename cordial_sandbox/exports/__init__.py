"""The kinds of exports: one module and one entry of the registry each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cordial_sandbox.accounts import Account
from cordial_sandbox.exports.account_monitor import ACCOUNT_MONITOR
from cordial_sandbox.exports.audience_trends import AUDIENCE_TRENDS
from cordial_sandbox.exports.contact_activity import CONTACT_ACTIVITY
from cordial_sandbox.exports.contacts import CONTACTS
from cordial_sandbox.exports.kind import Content, ExportKind, ExportRequest, Rendered
from cordial_sandbox.exports.message_analytics import MESSAGE_ANALYTICS
from cordial_sandbox.validation import BAD_DESTINATION, MAX_NAME, ApiError, parse_destination

__all__ = ["KINDS", "Content", "ExportKind", "ExportRequest", "Rendered", "name_file", "parse_request"]

KINDS: Mapping[str, ExportKind] = {
    kind.path: kind for kind in (AUDIENCE_TRENDS, CONTACTS, CONTACT_ACTIVITY, MESSAGE_ANALYTICS, ACCOUNT_MONITOR)
}


def parse_request(
    kind: ExportKind, body: Any, account: Account, *, saved_key_exists: Callable[[str], bool]
) -> ExportRequest:
    """Return the request of a body that Cordial accepts.

    :raises ApiError: the body is invalid; has the documented status and message.
    """
    if not isinstance(body, Mapping):
        raise ApiError(BAD_DESTINATION, "Invalid JSON provided.", "INVALID_JSON_PROVIDED")
    destination = parse_destination(body.get("destination"), saved_key_exists)
    name = _parse_name(kind, body.get("name"))
    export_type = body.get("exportType", kind.default_type)
    if export_type not in kind.types:
        # documented for contact exports
        raise ApiError(kind.config_status, "The selected export type is invalid.")
    known = kind.members | {"name", "exportType", "destination"}
    if unknown := sorted(set(body) - known):
        raise ApiError(kind.config_status, f"Field '{unknown[0]}' is not known.")  # inferred
    request = {"exportType": export_type, **kind.parse(body, account)}
    return ExportRequest(kind.path, name, request, destination)


def name_file(pattern: str, request: Mapping[str, Any], **placeholders: str) -> str:
    """Return the name of a file; a pattern that ends in ``.csv`` has the ending of the type instead."""
    stem = request.get("fileName") or placeholders["name"]
    name = pattern.format(**{**placeholders, "name": stem})
    if (ending := request["exportType"]) != "csv" and name.endswith(".csv"):
        name = f"{name.removesuffix('.csv')}.{ending}"
    return f"{name}.gz" if request.get("compress") else name


def _parse_name(kind: ExportKind, name: Any) -> str:
    if name is None and not kind.requires_name:
        return kind.path
    if not name:
        raise ApiError(kind.config_status, "Field 'name' should be provided.")
    # Only the rule is documented; the messages are inferred.
    if not isinstance(name, str) or not re.fullmatch(kind.name_pattern or r"[^/\x00-\x1f]+", name):
        raise ApiError(kind.config_status, "Field 'name' may only contain letters, numbers, and dashes.")
    if len(name.encode()) > MAX_NAME:
        raise ApiError(kind.config_status, f"Field 'name' may not be longer than {MAX_NAME} bytes.")
    return name
