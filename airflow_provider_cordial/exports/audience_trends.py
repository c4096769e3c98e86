"""AudienceTrendsExport: the sizes of audiences by day."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from airflow_provider_cordial.destinations import destination_from_json
from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.base import Export
from airflow_provider_cordial.exports.timeframe import Timeframe

#: Blanks that look like a space, and characters that cannot be seen.
_LOOKALIKES = str.maketrans(
    {"\u00a0": " ", "\u2007": " ", "\u202f": " ", "\u200b": None, "\u2060": None, "\ufeff": None}
)
_EDGES = re.compile(r"\A[\s\u200c-\u200f]+|[\s\u200c-\u200f]+\Z")

#: An audience as Cordial's refusals quote it.
_QUOTED = r"[Aa]udience ['\"]{}['\"]"


@dataclass(frozen=True, kw_only=True, slots=True)
class AudienceTrendsExport(Export):
    """The sizes of audiences by day, delivered as one CSV: a row per audience and a column per day.

    :param audiences: the names of saved audiences, each with Audience Trend analytics enabled.
    :param timeframe: the days, both ends included.
    :param refused_audiences: requested as well, and refused by Cordial: the file does not contain them.
    :param timezone: the account's, for a file whose header has times and not days.

    Source: Cordial, "Audience Trends export API".
    """

    kind = "audiencetrendsexport"
    error_hint = (
        "Each audience needs Audience Trend analytics enabled in Cordial. "
        'on_refused_audience="skip" exports the other audiences.'
    )

    audiences: tuple[str, ...]
    timeframe: Timeframe
    refused_audiences: tuple[str, ...] = ()
    timezone: str | None = None

    def body(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "exportType": "csv",
            "selected_timeframe_start": self.timeframe.start.isoformat(),
            "selected_timeframe_end": self.timeframe.end.isoformat(),
            "audiences": list(self.audiences),
        }

    def days(self) -> Iterable[date]:
        return self.timeframe

    def reads(self) -> Sequence[str]:
        return self.audiences

    def event_extra(self) -> dict[str, Any]:
        return {"audiences": list(self.audiences), **self.refusals()}

    def refusals(self) -> dict[str, Any]:
        """Return the refused audiences as JSON, if there are any."""
        return {"refused_audiences": list(self.refused_audiences)} if self.refused_audiences else {}

    def to_json(self) -> dict[str, Any]:
        # Explicitly: super() does not work in a class with slots.
        timezone = {"timezone": self.timezone} if self.timezone else {}
        return {**Export.to_json(self), **self.refusals(), **timezone}

    def canonical(self) -> dict[str, Any]:
        # The order of the audiences has no meaning, and Cordial does not receive the time zone.
        return {**replace(self, timezone=None).to_json(), "audiences": sorted(self.audiences)}

    def find_refused(self, explanation: str) -> tuple[str, ...]:
        # Source: the Swagger document, "Audience ':audience' does not exist." and "For Audience ':audience' ...".
        named = tuple(name for name in self.audiences if re.search(_QUOTED.format(re.escape(name)), explanation))
        return named if len(named) < len(self.audiences) else ()

    def without(self, refused: Sequence[str]) -> AudienceTrendsExport:
        kept = tuple(name for name in self.audiences if name not in refused)
        return replace(self, audiences=kept, refused_audiences=(*self.refused_audiences, *refused))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> AudienceTrendsExport:
        try:
            return cls(
                name=record["name"],
                audiences=validate_audiences(record["audiences"]),
                timeframe=Timeframe(
                    date.fromisoformat(record["selected_timeframe_start"]),
                    date.fromisoformat(record["selected_timeframe_end"]),
                ),
                destination=destination_from_json(record["destination"]),
                refused_audiences=tuple(record.get("refused_audiences") or ()),
                timezone=record.get("timezone"),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f'Invalid Audience Trends export ({error!r}): pass export.output["export"] of an export operator.'
            raise InvalidExportError(msg) from None


def validate_audiences(audiences: Any) -> tuple[str, ...]:
    """Return the audiences as a tuple.

    :raises InvalidExportError: the list is empty, an entry is not a name, or a name is listed twice.
    """
    if isinstance(audiences, str) or not isinstance(audiences, Iterable):
        msg = f"Invalid audiences {audiences!r}: expected a list of audience names, also for a single audience."
        raise InvalidExportError(msg)
    # A set has another order in each process.
    names = tuple(sorted(audiences, key=str) if isinstance(audiences, Set) else audiences)
    if not names:
        msg = "Invalid audiences: the list is empty. Name at least one saved audience."
        raise InvalidExportError(msg)
    if numbers := [name for name in names if not isinstance(name, str)]:
        msg = (
            f"Invalid audience {numbers[0]!r}: expected text, got {type(numbers[0]).__name__}. If the DAG renders "
            'templates as native objects, quote the value: "{{ params.audience | tojson }}".'
        )
        raise InvalidExportError(msg)
    if not all(name.strip() for name in names):
        msg = "Invalid audiences: a name is blank. Name a saved audience, or leave it out."
        raise InvalidExportError(msg)
    spellings: dict[str, str] = {}
    for name in names:
        other = spellings.get(fold_name(name))
        if other is not None:
            hint = "" if other == name else " Outer blanks, invisible characters, and Unicode forms do not count."
            msg = f"Duplicate audience {name!r}: name each audience once.{hint}"
            raise InvalidExportError(msg)
        spellings[fold_name(name)] = name
    return names


def fold_name(name: str) -> str:
    """Return what identifies an audience: its name in NFC, without outer blanks and invisible characters."""
    if name.isascii():
        return name.strip()
    return _EDGES.sub("", unicodedata.normalize("NFC", name).translate(_LOOKALIKES))
