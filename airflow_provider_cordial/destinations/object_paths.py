"""What the object stores share: paths without slashes at their ends, which may name a folder or a file."""

from __future__ import annotations

from typing import Literal

from airflow_provider_cordial.exceptions import InvalidExportError


def key(path: str) -> str:
    """Return a path as Cordial wants it: it makes a second folder of a slash at the end.

    Source: Cordial, "Audience Trends export API".
    """
    trimmed = path.strip().strip("/")
    if not trimmed:
        msg = f"path {path!r} of the destination is empty. Name the folder that Cordial delivers to."
        raise InvalidExportError(msg)
    return trimmed


def file_key(path: str) -> str | None:
    """Return a path's key where it names a file, which is where its last part has an extension, and None otherwise."""
    found = key(path)
    return found if "." in found.rpartition("/")[2].strip(".") else None


def name_alone(what: Literal["bucket", "container"], given: str, scheme: str) -> str:
    """Return the name of a bucket or container, without a scheme or slashes around it."""
    name = given.strip().removeprefix(f"{scheme}://").strip("/")
    if not name or "/" in name:
        msg = f"{what} {given!r} is no {what}'s name. Give the name alone, and the rest as path."
        raise InvalidExportError(msg)
    return name
