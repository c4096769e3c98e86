"""The export of contacts.

Source: the v2 Swagger document's ``SourceCE``, and Cordial, "Contact exports API".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cordial_sandbox.accounts import Account
from cordial_sandbox.exports.kind import Content, ExportKind, Rendered
from cordial_sandbox.exports.records import COUNT, write_records
from cordial_sandbox.validation import ApiError, check_types

_TYPES = {
    "delimiter": "string",
    "fields": "strings",
    "lists": "lists",
    "audience-key": "string",
    "accountId": "integer",
    "showHeader": "boolean",
    "compress": "boolean",
    "confirmEmail": "email",
}


def parse(body: Mapping[str, Any], account: Account) -> Mapping[str, Any]:
    check_types(body, _TYPES)
    if "fields" not in body:
        raise ApiError(400, "Field 'fields' should be provided.")  # inferred
    check_delimiter(body)
    if (audience := body.get("audience-key")) is not None and audience not in account.audiences_by_name:
        raise ApiError(400, f"Audience with name: '{audience}' does not exist.")
    return {member: body[member] for member in _TYPES if member in body}


def check_delimiter(body: Mapping[str, Any]) -> None:
    """Check that the delimiter separates values in one file; the message is inferred."""
    delimiter = body.get("delimiter", ",")
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise ApiError(400, "The delimiter must be one character.")


def render(request: Mapping[str, Any], content: Content) -> Rendered:
    contacts = [
        {
            "_id": f"{number:024x}",
            "channels.email.address": f"contact{number}@example.com",
            "email": f"contact{number}@example.com",
            "channels.email.subscribeStatus": "subscribed" if number % 5 else "unsubscribed",
            "createdAt": f"2025-01-{number:02d}T00:00:00+0000",
        }
        for number in range(1, COUNT + 1)
    ]
    return write_records(contacts, request["fields"], request, content)


CONTACTS = ExportKind(
    path="contactexports",
    types=("csv", "json", "txt"),
    parse=parse,
    render=render,
    job_name="ExportContacts",
    requires_name=False,
    default_type="csv",
    members=frozenset(_TYPES),
)
