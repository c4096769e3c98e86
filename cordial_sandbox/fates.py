"""Fates: what happens to single jobs, while the account's behavior applies to all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cordial_sandbox.operations import Export
from cordial_sandbox.settings import check_held_status


class Outcome(BaseModel):
    """What is different about a job.

    :param fails_with: reason with which it fails.
    :param stays_in: status, documented or not, in which it stops for good.
    :param missing_days: days that are blank in its file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fails_with: str | None = None
    stays_in: str | None = None
    missing_days: tuple[date, ...] = ()

    @field_validator("stays_in")
    @classmethod
    def _validate_status(cls, status: str | None) -> str | None:
        return check_held_status("stays_in", status)


class Fate(Outcome):
    """An outcome for those of the next exports that match.

    :param kind: path of the export, such as ``audiencetrendsexport``; any by default.
    :param name: pattern of the export's name, with ``*`` and ``?``.
    :param audience: name of an audience that the export asks for.
    :param nth: only the n-th of the exports that match; every one by default.
    """

    kind: Export | None = None
    name: str = "*"
    audience: str | None = None
    nth: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _validate_outcome(self) -> Self:
        if self.fails_with is None and self.stays_in is None and not self.missing_days:
            msg = "Invalid fate: expected fails_with, stays_in, or missing_days."
            raise ValueError(msg)
        return self

    def matches(self, kind: str, name: str, request: Mapping[str, Any]) -> bool:
        """Return whether an export matches, whatever its position."""
        audiences = {*request.get("audiences", ()), request.get("audience-key"), request.get("selected_audience_key")}
        return (
            self.kind in (None, kind)
            and fnmatchcase(name, self.name)
            and (self.audience is None or self.audience in audiences)
        )

    def outcome(self) -> dict[str, Any]:
        return self.model_dump(mode="json", include=set(Outcome.model_fields))
