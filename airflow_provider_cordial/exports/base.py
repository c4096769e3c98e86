"""Export: what is asked of Cordial, as a value; and the same once Cordial has accepted it.

Submission, waiting, and delivery know only what is defined here. A kind of export is one module with one subclass.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Self

from airflow_provider_cordial.destinations import Destination
from airflow_provider_cordial.destinations.base import register_once
from airflow_provider_cordial.destinations.file_names import CSV
from airflow_provider_cordial.exceptions import InvalidExportError

_NAME = re.compile(r"[A-Za-z0-9-]+")

_KINDS: dict[str, type[Export]] = {}

#: The modules of kinds that are imported on demand: a DAG file is parsed without them.
_MODULES = {
    "accountmonitorexport": "account_monitor",
    "contactactivityexport": "contact_activity",
    "contactexports": "contacts",
    "messageanalyticsexport": "message_analytics",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Export(ABC):
    """What is asked of Cordial, without any secret. Subclasses register by their ``kind``.

    :param name: letters, digits, and dashes; it also names the file.
    :param destination: where Cordial delivers the file.
    :raises InvalidExportError: the name has other characters.
    """

    #: The endpoint, ``audiencetrendsexport`` for instance.
    kind: ClassVar[str]

    #: What to check when Cordial rejects the export's configuration; one sentence.
    error_hint: ClassVar[str] = ""

    name: str
    destination: Destination

    def __init_subclass__(cls) -> None:
        if "kind" in vars(cls):  # not a base class for several kinds
            register_once(_KINDS, cls.kind, cls, "Export kind")

    def __post_init__(self) -> None:
        validate_name(self.name)

    @abstractmethod
    def body(self) -> dict[str, Any]:
        """Return the body of the request, without the destination."""

    @classmethod
    @abstractmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the export that ``to_json`` serialized.

        :raises InvalidExportError: the record is not an export of this kind.
        """

    def days(self) -> Iterable[date]:
        """Return the days that the file covers, for asset events."""
        return ()

    def reads(self) -> Iterable[str]:
        """Return the names of what the export reads in Cordial, for lineage: audiences for instance."""
        return ()

    @property
    def file_formats(self) -> tuple[str, ...]:
        """The extensions of the delivered file, without the dot; the likely one first."""
        return CSV

    @property
    def may_be_empty(self) -> bool:
        """Whether the delivered file may have no content: it has no header."""
        return False

    def event_extra(self) -> dict[str, Any]:
        """Return what else the asset events of this export carry."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without any secret."""
        return {"kind": self.kind, **self.body(), "destination": self.destination.to_json()}

    def canonical(self) -> dict[str, Any]:
        """Return the request for the identity of a submission: equal for requests that mean the same."""
        return self.to_json()

    def find_refused(self, explanation: str) -> tuple[str, ...]:
        """Return the parts of the request that Cordial's refusal names, if it can be sent without them.

        :param explanation: in Cordial's own words.
        """
        del explanation
        return ()

    def without(self, refused: Sequence[str]) -> Self:
        """Return the same export without the parts that Cordial refused; see ``find_refused``."""
        del refused
        return self

    def named(self, name: str) -> Self:
        """Return the same export under another name."""
        return replace(self, name=name)


@dataclass(frozen=True, slots=True)
class SubmittedExport:
    """An export that Cordial has accepted: what a load needs to find the file and to check it.

    :param uri: where the file is delivered, without a secret.
    :param submitted_at: a moment before the submission: the file is not older.
    :param has_unique_name: whether no other submission has the export's name: then a file of that name is this one's.
    :param job_url: the job's page in Cordial.
    """

    export: Export
    job_id: str
    uri: str
    submitted_at: datetime
    has_unique_name: bool = False
    job_url: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, for an XCom."""
        return {
            **self.export.to_json(),
            "job_id": self.job_id,
            "uri": self.uri,
            "submitted_at": self.submitted_at.astimezone(UTC).isoformat(),
            "has_unique_name": self.has_unique_name,
            "job_url": self.job_url,
        }

    @classmethod
    def from_json(cls, record: Any) -> SubmittedExport:
        """Return what ``to_json`` serialized.

        :raises InvalidExportError: the record is not the output of an export operator.
        """
        export = parse_export(record)
        try:
            submitted_at = datetime.fromisoformat(record["submitted_at"])
            is_unique = record.get("has_unique_name") is True
            job_url = str(record.get("job_url") or "")
            return cls(export, str(record["job_id"]), str(record["uri"]), submitted_at, is_unique, job_url)
        except (KeyError, TypeError, ValueError):
            msg = (
                "Invalid export: 'job_id', 'uri', or 'submitted_at' is missing or unreadable. "
                'Pass export.output["export"] of an export operator.'
            )
            raise InvalidExportError(msg) from None


def parse_export(record: Any) -> Export:
    """Return the export of a record, by its kind.

    :raises InvalidExportError: the record is not an export, or its kind is unknown.
    """
    if not isinstance(record, Mapping):
        msg = f'Expected the output of an export operator (export.output["export"]), got {record!r}.'
        raise InvalidExportError(msg)
    name = str(record.get("kind"))
    if name not in _KINDS and name in _MODULES:
        importlib.import_module(f"airflow_provider_cordial.exports.{_MODULES[name]}")
    kind = _KINDS.get(name)
    if kind is None:
        msg = (
            f"Unknown export kind {record.get('kind')!r}: expected one of {', '.join(sorted({*_KINDS, *_MODULES}))}. "
            "Import the module that defines the kind in the DAG file."
        )
        raise InvalidExportError(msg)
    return kind.from_json(record)


def validate_name(name: Any) -> str:
    """Return an export's name if Cordial accepts it.

    Source: Cordial, "Audience Trends export API": letters, numbers and dashes only.

    :raises InvalidExportError: the name is empty or has other characters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^A-Za-z0-9]+", "-", str(name)).strip("-") or "audience-trends"
        msg = f"Invalid name {name!r}: expected letters, digits, and dashes. Use {suggestion!r}."
        raise InvalidExportError(msg)
    return name
