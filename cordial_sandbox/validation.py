"""The error of the API, and the checks that all exports share, as pure functions.

Source: the v2 Swagger document's responses of the exports, and their articles. Messages that are marked as inferred are
the sandbox's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

BAD_DESTINATION = 400
BAD_EXPORT = 406

GENERIC = "GENERIC_ERROR_KEY"

#: Not documented: a file system has room for 255 bytes, and a file's name may have a suffix.
MAX_NAME = 200

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
DESTINATION_MEMBERS = frozenset(
    {"type", "port", "password", "savedKey", "aws_access_key_id", "aws_secret_access_key"}
).union(*_REQUIRED.values())

_TIMEFRAME = ("selected_timeframe_start", "selected_timeframe_end")


class ApiError(Exception):
    """An error response of the API."""

    def __init__(self, status: int, message: str, error_key: str = GENERIC, **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": True, "errorKey": error_key, "message": message, **members}


def parse_json(content: bytes) -> Any:
    """Return the JSON of a body.

    :raises ApiError: it is not JSON, or has numbers or characters that JSON in UTF-8 cannot have.
    """
    try:
        body = json.loads(content, parse_constant=_refuse_constant)
        # A lone surrogate can be neither stored nor repeated in an answer.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        # Cordial documents the key and the message, but not the status.
        raise ApiError(400, "Invalid JSON provided.", "INVALID_JSON_PROVIDED") from None
    return body


def parse_form(content: bytes) -> Any:
    """Return the members of a form as JSON would have them.

    Cordial documents that it accepts forms, but not how they nest. Here, ``a[b]=x`` is a member of ``a``, and ``a[]=x``
    an item.

    :raises ApiError: it is not a form, or its members contradict each other.
    """
    body: dict[str, Any] = {}
    try:
        for name, value in parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=10_000):
            head, inner, items = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]+)\])?(\[\])?", name).groups()  # type: ignore[union-attr]
            holder = body if inner is None else body.setdefault(head, {})
            member = head if inner is None else inner
            if items:
                holder.setdefault(member, []).append(value)
            else:
                holder[member] = value
    except (ValueError, AttributeError, TypeError):
        raise ApiError(400, "Invalid JSON provided.", "INVALID_JSON_PROVIDED") from None
    return body


def parse_destination(destination: Any, saved_key_exists: Callable[[str], bool]) -> Mapping[str, Any]:
    """Return a valid destination with its type in lower case.

    :param saved_key_exists: returns whether the Secrets Vault has a key pair of a name.
    :raises ApiError: it is invalid; has the documented status and message.
    """
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
    _check_aws_keys(destination)
    return {**destination, "type": kind}


def check_types(body: Mapping[str, Any], types: Mapping[str, str], status: int = BAD_DESTINATION) -> None:
    """Check members of a body; the messages are inferred.

    :param types: by member, one of the types below; a member may be absent.
    :raises ApiError: a member has another type.
    """
    for member, kind in types.items():
        if member in body and not _TYPES[kind](body[member]):
            if kind == "email":
                raise ApiError(status, "The confirm email must be a valid email address.")  # documented
            raise ApiError(status, f"The {member} must be of the type {kind}.")


def check_choice(body: Mapping[str, Any], member: str, choices: tuple[str, ...], status: int = BAD_DESTINATION) -> None:
    """Check that a member, if it is present, is one of the choices; the message is inferred."""
    if member in body and body[member] not in choices:
        raise ApiError(status, f"The selected {member} is invalid.")


def parse_timeframe(
    body: Mapping[str, Any], parse: Callable[[str], Any], status: int = BAD_EXPORT
) -> tuple[datetime, datetime]:
    """Return the first and the last moment of a timeframe.

    :param parse: parses either.
    """
    if not all(body.get(name) for name in _TIMEFRAME):
        raise ApiError(status, "Both fields 'selected_timeframe_start' and 'selected_timeframe_end' should be present.")
    moments = []
    for name in _TIMEFRAME:
        try:
            moments.append(parse(body[name]))
        except (TypeError, ValueError, OverflowError):
            raise ApiError(status, f"The '{name}' is invalid. ISO-8601 is a recommended format.") from None
    start, end = moments
    if end < start:
        raise ApiError(
            status, "'selected_timeframe_end' cannot be in past in comparison with 'selected_timeframe_start'"
        )
    return start, end


def parse_moment(text: str) -> datetime:
    """Return a time in ISO 8601 as a moment in UTC; that it is in UTC without an offset is not documented."""
    moment = datetime.fromisoformat(text.upper())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_columns(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, Mapping) and isinstance(item.get("name"), str) and isinstance(item.get("label", ""), str)
        for item in value
    )


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "count": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "strings": _is_strings,
    "lists": lambda value: (
        isinstance(value, list)
        and all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in value)
    ),
    "columns": _is_columns,
    "email": lambda value: isinstance(value, str) and re.fullmatch(r"[^@\s]+@[^@\s]+", value) is not None,
}


def _check_members(destination: Mapping[str, Any]) -> None:
    # The messages are inferred. A misspelled member must be rejected: its value may be a secret that is not masked.
    if unknown := sorted(set(destination) - DESTINATION_MEMBERS):
        raise ApiError(BAD_DESTINATION, f"The destination.{unknown[0]} field is not known.")
    for member in sorted(destination.keys() - {"port"}):
        if not isinstance(destination[member], str):
            raise ApiError(BAD_DESTINATION, f"The destination.{member} must be a string.")
    port = destination.get("port", 22)
    if isinstance(port, bool) or not (re.fullmatch(r"[0-9]{1,5}", str(port)) and 0 < int(port) < 65536):
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
