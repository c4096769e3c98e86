"""RecordsExport: what the exports of records share, be they contacts, activities, messages, or log entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import date, datetime
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

from airflow_provider_cordial.destinations import destination_from_json
from airflow_provider_cordial.destinations.file_names import CSV, JSON
from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.base import Export
from airflow_provider_cordial.exports.members import (
    Member,
    member,
    one_of,
    parse_count,
    parse_email,
    parse_moment,
    parse_switch,
    to_json,
)
from airflow_provider_cordial.exports.timeframe import Timeframe


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsExport(Export):
    """An export of records, delivered as one file or several.

    :param export_type: the format of the file.
    :param compress: compress the file with gzip, and add ``.gz`` to its name.
    :param confirm_email: the address that receives a mail when the job is Done.
    :param options: further members of the request, as Cordial spells them, sent unchanged.
    :raises InvalidExportError: a member is not what Cordial documents.
    """

    #: Members of which Cordial accepts only one.
    alternatives: ClassVar[tuple[tuple[str, str], ...]] = ()

    export_type: str = field(default="csv", metadata=member("exportType", one_of("csv", "json", "txt")))
    compress: bool | None = field(default=None, metadata=member("compress", parse_switch))
    confirm_email: str | None = field(default=None, metadata=member("confirmEmail", parse_email))
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        # Explicitly: super() does not work in a class with slots.
        Export.__post_init__(self)
        for item, one in self.members():
            value = getattr(self, item.name)
            if value is not None or item.default is not None:
                object.__setattr__(self, item.name, one.parse(item.name, value))
        for first, second in self.alternatives:
            if getattr(self, first) is not None and getattr(self, second) is not None:
                msg = f"Both {first} and {second} are set: set one or the other."
                raise InvalidExportError(msg)
        if getattr(self, "delimiter", None) is not None and self.export_type != "txt":
            msg = f"Invalid delimiter for export_type {self.export_type!r}: it applies to txt only."
            raise InvalidExportError(msg)
        self._check_options()

    @classmethod
    def members(cls) -> Iterator[tuple[Field[Any], Member]]:
        """Yield the fields that are members of the request."""
        return ((item, item.metadata["member"]) for item in fields(cls) if "member" in item.metadata)

    @property
    def file_formats(self) -> tuple[str, ...]:
        return JSON if self.export_type == "json" else CSV

    @property
    def may_be_empty(self) -> bool:
        return not getattr(self, "show_header", None)

    def body(self) -> dict[str, Any]:
        return {"name": self.name, **self._given(), **self.options}

    def to_json(self) -> dict[str, Any]:
        options = {"options": dict(self.options)} if self.options else {}
        destination = self.destination.to_json()
        return {"kind": self.kind, "name": self.name, **self._given(), **options, "destination": destination}

    def canonical(self) -> dict[str, Any]:
        unordered = {one.name for _, one in self.members() if one.is_unordered}
        return {name: sorted(value, key=str) if name in unordered else value for name, value in self.to_json().items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        try:
            return cls(
                name=record["name"],
                destination=destination_from_json(record["destination"]),
                options=record.get("options") or {},
                **{item.name: record[one.name] for item, one in cls.members() if one.name in record},
                **cls._more(record),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f'Invalid {cls.kind} ({error!r}): pass export.output["export"] of an export operator.'
            raise InvalidExportError(msg) from None

    @classmethod
    def _more(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return what else the JSON contains: what is not sent to Cordial."""
        del record
        return {}

    def _given(self) -> dict[str, Any]:
        values = ((one.name, getattr(self, item.name)) for item, one in self.members())
        return {name: to_json(value) for name, value in values if value is not None}

    def _check_options(self) -> None:
        if not isinstance(self.options, Mapping):
            msg = f"Invalid options {self.options!r}: expected a mapping of members as Cordial spells them."
            raise InvalidExportError(msg)
        parameters = {one.name: item.name for item, one in self.members()}
        parameters |= {"name": "name", "destination": "destination"}
        if taken := sorted(map(str, self.options.keys() & parameters.keys())):
            msg = f"Invalid options: {taken[0]!r} has a parameter of its own. Set {parameters[taken[0]]}."
            raise InvalidExportError(msg)


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodExport(RecordsExport):
    """An export of the records of a period.

    :param selected_timeframe_start: the first moment, with a time zone.
    :param selected_timeframe_end: the last moment, included.
    :param limit_records_per_file: 0 for one file.
    :param timezone: the account's, for the days of asset events; Cordial does not receive it.
    :raises InvalidExportError: the end is before the start.
    """

    selected_timeframe_start: datetime = field(metadata=member("selected_timeframe_start", parse_moment))
    selected_timeframe_end: datetime = field(metadata=member("selected_timeframe_end", parse_moment))
    limit_records_per_file: int | None = field(default=None, metadata=member("limitRecordsPerFile", parse_count))
    timezone: str | None = None

    def __post_init__(self) -> None:
        RecordsExport.__post_init__(self)
        if self.selected_timeframe_end < self.selected_timeframe_start:
            msg = (
                f"Invalid selected_timeframe_end {self.selected_timeframe_end}: it is before the start "
                f"{self.selected_timeframe_start}."
            )
            raise InvalidExportError(msg)

    def days(self) -> Iterable[date]:
        zone = ZoneInfo(self.timezone) if self.timezone else None
        return Timeframe(
            *(
                one.astimezone(zone or one.tzinfo).date()
                for one in (self.selected_timeframe_start, self.selected_timeframe_end)
            )
        )

    def to_json(self) -> dict[str, Any]:
        return {**RecordsExport.to_json(self), **({"timezone": self.timezone} if self.timezone else {})}

    def canonical(self) -> dict[str, Any]:
        return {name: value for name, value in RecordsExport.canonical(self).items() if name != "timezone"}

    @classmethod
    def _more(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        return {"timezone": record.get("timezone")}
