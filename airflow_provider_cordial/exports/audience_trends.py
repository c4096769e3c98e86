"""AudienceTrendsExport: what an Audience Trends export asks for, as a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from airflow_provider_cordial.client.api import AUDIENCE_TRENDS_EXPORT
from airflow_provider_cordial.destinations import Destination, destination_from_json
from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.base import validate_name
from airflow_provider_cordial.exports.timeframe import Timeframe


@dataclass(frozen=True, slots=True)
class AudienceTrendsExport:
    """The sizes of some audiences on some days, delivered to a destination.

    :param name: letters, digits and dashes; also names the file.
    :param audiences: the names of saved audiences, each with Audience Trend analytics enabled.
    :param timeframe: the days, both ends included.

    Source: Cordial, "Audience Trends export API".
    """

    name: str
    audiences: tuple[str, ...]
    timeframe: Timeframe
    destination: Destination

    kind = AUDIENCE_TRENDS_EXPORT

    def __post_init__(self) -> None:
        validate_name(self.name)

    def body(self) -> dict[str, Any]:
        """Return the body to send, but for the destination."""
        return {
            "name": self.name,
            "exportType": "csv",
            "selected_timeframe_start": self.timeframe.start.isoformat(),
            "selected_timeframe_end": self.timeframe.end.isoformat(),
            "audiences": list(self.audiences),
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, with no secret in it."""
        return {"kind": self.kind, **self.body(), "destination": self.destination.to_json()}

    def named(self, name: str) -> AudienceTrendsExport:
        """Return the same export under another name."""
        return replace(self, name=name)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> AudienceTrendsExport:
        """Return the export that ``to_json`` made a record of.

        :raises InvalidExportError: the record is not of an Audience Trends export.
        """
        try:
            return cls(
                name=record["name"],
                audiences=validate_audiences(record["audiences"]),
                timeframe=Timeframe(
                    date.fromisoformat(record["selected_timeframe_start"]),
                    date.fromisoformat(record["selected_timeframe_end"]),
                ),
                destination=destination_from_json(record["destination"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f'export {record!r} is not an Audience Trends export ({error!r}). Pass export.output["export"].'
            raise InvalidExportError(msg) from None


def validate_audiences(audiences: Any) -> tuple[str, ...]:
    """Return the audiences, if they can be asked for: at least one, all of them names, none given twice."""
    if isinstance(audiences, str) or not isinstance(audiences, Iterable):
        msg = f"audiences {audiences!r} is not a list of audience names. Give a list, also for one audience."
        raise InvalidExportError(msg)
    names = tuple(audiences)
    if not names:
        msg = "audiences is empty. Name at least one saved audience."
        raise InvalidExportError(msg)
    if bad := [name for name in names if not isinstance(name, str) or not name.strip()]:
        msg = f"audiences holds {bad[0]!r}, which is no audience name. Give the names of saved audiences."
        raise InvalidExportError(msg)
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        msg = f"audiences names {twice!r} more than once. Name each audience once."
        raise InvalidExportError(msg)
    return names
