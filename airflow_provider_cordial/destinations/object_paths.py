"""Names of buckets and keys, for every object store."""

from __future__ import annotations

from typing import Literal

from airflow_provider_cordial.destinations.base import require_path
from airflow_provider_cordial.exceptions import InvalidExportError


def normalize_key(path: str) -> str:
    """Return a path without leading and trailing slashes: Cordial turns a trailing slash into a second folder.

    :raises InvalidExportError: the path is empty.

    Source: Cordial, "Audience Trends export API".
    """
    return require_path(path, path.strip().strip("/"))


def parse_file_key(path: str) -> str | None:
    """Return the key of a file, which is a path whose last part has an extension; None for a folder."""
    key = normalize_key(path)
    return key if "." in key.rpartition("/")[2].strip(".") else None


def strip_scheme(given: str, scheme: str) -> str:
    """Return the name of a bucket or container without a scheme and surrounding slashes."""
    return given.strip().removeprefix(f"{scheme}://").strip("/")


def normalize_bucket(what: Literal["bucket", "container"], given: str, scheme: str) -> str:
    """Return the name of a bucket or container, without a scheme and surrounding slashes.

    :raises InvalidExportError: the name is empty or contains a slash.
    """
    name = strip_scheme(given, scheme)
    if not name or "/" in name:
        msg = f"Invalid {what} {given!r}: expected the bare name. Pass a folder as path."
        raise InvalidExportError(msg)
    return name
