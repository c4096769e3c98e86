"""What all of Cordial's exports have in common: all that submitting, waiting and delivering know of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from airflow_provider_cordial.destinations import Destination
from airflow_provider_cordial.exceptions import InvalidExportError

_NAME = re.compile(r"[A-Za-z0-9-]+")


class Export(Protocol):
    """An export as a value: what is asked for, and where it goes. No secret is in it."""

    @property
    def kind(self) -> str:
        """The endpoint, ``audiencetrendsexport`` for instance."""

    @property
    def name(self) -> str:
        """The export's name, which also names the file."""

    @property
    def destination(self) -> Destination:
        """Where Cordial delivers the file."""

    def body(self) -> dict[str, Any]:
        """The body to send, but for the destination."""

    def to_json(self) -> dict[str, Any]:
        """The export as plain JSON."""

    def named(self, name: str) -> Export:
        """The same export under another name."""


@dataclass(frozen=True, slots=True)
class SubmittedExport:
    """An export that Cordial has accepted: what the loader needs to find the file and to check it.

    :param uri: where the file is delivered, without a secret.
    :param submitted_at: a moment before the submission: the file is not older.
    """

    export: Export
    job_id: str
    uri: str
    submitted_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, for an XCom."""
        return {
            **self.export.to_json(),
            "job_id": self.job_id,
            "uri": self.uri,
            "submitted_at": self.submitted_at.astimezone(UTC).isoformat(),
        }


def parse_submission(record: Mapping[str, Any]) -> tuple[str, datetime]:
    """Return the job id and the time of submission of a ``SubmittedExport`` as JSON."""
    try:
        return str(record["job_id"]), datetime.fromisoformat(record["submitted_at"])
    except (KeyError, TypeError, ValueError):
        msg = (
            f"export {record!r} is not what the export operator pushes: job_id or submitted_at is missing or "
            'unreadable. Pass export.output["export"].'
        )
        raise InvalidExportError(msg) from None


def validate_name(name: Any) -> str:
    """Return an export's name, if Cordial can take it.

    Source: Cordial, "Audience Trends export API": letters, numbers and dashes only.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^A-Za-z0-9]+", "-", str(name)).strip("-") or "audience-trends"
        msg = f"name {name!r} may hold letters, digits and dashes only, and must not be empty. Use {suggestion!r}."
        raise InvalidExportError(msg)
    return name
