"""What the object stores share: paths without slashes at their ends, which name a folder or a file."""

from __future__ import annotations

from typing import Literal

from airflow_provider_cordial.destinations.base import empty_path
from airflow_provider_cordial.exceptions import InvalidExportError


def normalize_key(path: str) -> str:
    """Return a path without slashes at its ends: Cordial creates a second folder from a slash at the end.

    Source: Cordial, "Audience Trends export API".
    """
    trimmed = path.strip().strip("/")
    if not trimmed:
        raise empty_path(path)
    return trimmed


def parse_file_key(path: str) -> str | None:
    """Return the key of a path that names a file, which is one whose last part has an extension; None otherwise."""
    key = normalize_key(path)
    return key if "." in key.rpartition("/")[2].strip(".") else None


def normalize_bucket(what: Literal["bucket", "container"], given: str, scheme: str) -> str:
    """Return the name of a bucket or container, without a scheme or slashes around it."""
    name = given.strip().removeprefix(f"{scheme}://").strip("/")
    if not name or "/" in name:
        msg = f"Invalid {what} {given!r}: expected the bare name. Pass the rest as path."
        raise InvalidExportError(msg)
    return name
