"""Validate the body of an export with Cordial's documented statuses and messages, as pure functions.

Source: the v2 Swagger document's responses of ``audiencetrendsexport``, and the article "Audience Trends export API".
Messages that are marked as inferred are the sandbox's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from cordial_sandbox.trends import AUDIENCES

BAD_DESTINATION = 400
BAD_EXPORT = 406

GENERIC = "GENERIC_ERROR_KEY"

#: The required members of each destination, in the order of the checks, and their names in messages.
_REQUIRED: dict[str, dict[str, str]] = {
    "aws": {},
    "ftp": {"server": "server", "username": "username", "path": "path"},
    "sftp": {"server": "server", "username": "username", "path": "path"},
    "s3": {"aws_bucket": "aws bucket", "aws_region": "aws region", "path": "path"},
    "gcs": {"gcs_bucket": "gcs bucket", "path": "path"},
    "azureblob": {"account": "account", "container": "container", "path": "path"},
}
DESTINATION_TYPES = tuple(_REQUIRED)
EXPORT_MEMBERS = (
    "name",
    "exportType",
    "destination",
    "selected_timeframe_start",
    "selected_timeframe_end",
    "audiences",
)
DESTINATION_MEMBERS = tuple(
    sorted(
        {"type", "port", "password", "savedKey", "aws_access_key_id", "aws_secret_access_key"}.union(
            *_REQUIRED.values()
        )
    )
)


class ApiError(Exception):
    """An error response of the API."""

    def __init__(self, status: int, message: str, error_key: str = GENERIC) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": True, "errorKey": error_key, "message": message}


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """A valid request; the destination includes its secrets."""

    name: str
    start: date
    end: date
    audiences: tuple[str, ...]
    destination: Mapping[str, Any]


def parse_export_request(body: Any, *, saved_key_exists: Callable[[str], bool]) -> ExportRequest:
    """Return the export request of a body that Cordial accepts.

    :param saved_key_exists: returns whether the Secrets Vault has a key pair of a name.
    :raises ApiError: the body is invalid; has the documented status and message.
    """
    if not isinstance(body, Mapping):
        raise ApiError(BAD_DESTINATION, "Invalid JSON provided.", "INVALID_JSON_PROVIDED")
    destination = _parse_destination(body.get("destination"), saved_key_exists)
    name = body.get("name")
    if not name:
        raise ApiError(BAD_EXPORT, "Field 'name' should be provided.")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9-]+", name):
        # inferred: only the rule is documented
        raise ApiError(BAD_EXPORT, "Field 'name' may only contain letters, numbers, and dashes.")
    if body.get("exportType") != "csv":
        raise ApiError(BAD_EXPORT, "The selected export type is invalid.")  # documented for contact exports
    if unknown := sorted(set(body).difference(EXPORT_MEMBERS)):
        raise ApiError(BAD_EXPORT, f"Field '{unknown[0]}' is not known.")  # inferred
    start, end = _parse_timeframe(body)
    return ExportRequest(name, start, end, _parse_audiences(body.get("audiences")), destination)


def _parse_destination(destination: Any, saved_key_exists: Callable[[str], bool]) -> Mapping[str, Any]:
    if not isinstance(destination, Mapping) or "type" not in destination:
        raise ApiError(BAD_DESTINATION, "The destination.type field is required.")
    if not destination["type"]:
        # Both messages are documented; which of them applies to a blank type is inferred.
        raise ApiError(BAD_DESTINATION, "The destination.transport field is required.")
    kind = str(destination["type"]).lower()
    if kind not in _REQUIRED:
        raise ApiError(BAD_DESTINATION, "The selected destination.transport is invalid.")
    _check_members(destination)
    for member, words in _REQUIRED[kind].items():
        if not destination.get(member):
            raise ApiError(BAD_DESTINATION, f"The destination.{words} field is required.")
    if kind in ("ftp", "sftp"):
        _check_login(destination, destination.get("savedKey") if kind == "sftp" else None, saved_key_exists)
    if kind == "s3":
        _check_aws_keys(destination)
    return {**destination, "type": kind}


def _check_members(destination: Mapping[str, Any]) -> None:
    # The messages are inferred. A misspelled member must be rejected: its value may be a secret that is not masked.
    if unknown := sorted(set(destination).difference(DESTINATION_MEMBERS)):
        raise ApiError(BAD_DESTINATION, f"The destination.{unknown[0]} field is not known.")
    for member in sorted(destination.keys() - {"port"}):
        if not isinstance(destination[member], str | None):
            raise ApiError(BAD_DESTINATION, f"The destination.{member} must be a string.")
    port = destination.get("port")
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", str(port)) and 0 < int(port) < 65536):
        raise ApiError(BAD_DESTINATION, "The destination.port must be a number.")


def _check_login(destination: Mapping[str, Any], saved_key: Any, saved_key_exists: Callable[[str], bool]) -> None:
    if saved_key and not saved_key_exists(saved_key):
        # The message is documented for contact exports.
        raise ApiError(BAD_DESTINATION, f"SSH key with such Name/ID: {saved_key} does not exist.")
    if not saved_key and not destination.get("password"):
        raise ApiError(BAD_DESTINATION, "Parameter password is not set")


def _check_aws_keys(destination: Mapping[str, Any]) -> None:
    keys = ("aws_access_key_id", "aws_secret_access_key")
    if not any(destination.get(key) for key in keys):
        return
    for key in keys:
        if not destination.get(key):
            raise ApiError(BAD_DESTINATION, f"The destination.{key.replace('_', ' ')} field is required.")


def _parse_timeframe(body: Mapping[str, Any]) -> tuple[date, date]:
    names = ("selected_timeframe_start", "selected_timeframe_end")
    if not all(body.get(name) for name in names):
        raise ApiError(
            BAD_EXPORT, "Both fields 'selected_timeframe_start' and 'selected_timeframe_end' should be present."
        )
    start, end = (_parse_day(name, body[name]) for name in names)
    if end < start:
        raise ApiError(
            BAD_EXPORT, "'selected_timeframe_end' cannot be in past in comparison with 'selected_timeframe_start'"
        )
    return start, end


def _parse_day(name: str, value: Any) -> date:
    try:
        return datetime.fromisoformat(value).date()
    except (TypeError, ValueError):
        raise ApiError(BAD_EXPORT, f"The '{name}' is invalid. ISO-8601 is a recommended format.") from None


def _parse_audiences(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names:
        raise ApiError(BAD_EXPORT, "Field 'audiences' should be provided.")
    for name in names:
        audience = AUDIENCES.get(name) if isinstance(name, str) else None
        if audience is None:
            raise ApiError(BAD_EXPORT, f"Audience '{name}' does not exist.")
        if not audience.analytics:
            raise ApiError(BAD_EXPORT, f"For Audience '{name}' analytics disabled.")
    return tuple(names)
