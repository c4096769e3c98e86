"""Job: a job as Cordial's jobs resource reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from airflow_provider_cordial.client.secrets import mask_members

#: The members of a job record that may contain its id. The Swagger document declares none of them.
ID_MEMBERS = ("_id", "id", "jobId", "jobID")

#: Prefixes of the ``jobName`` of jobs other than exports. Source: the Swagger document.
OTHER_JOBS = ("Import", "Send", "Delete", "AudienceSplit", "DataAutomation")


class JobStatus(StrEnum):
    """The statuses that Cordial documents.

    Source: Cordial, "Jobs API"; ``Throttled`` is only in the Swagger document's filter.
    """

    SCHEDULED = "Scheduled"
    PENDING = "Pending"
    PROCESSING = "Processing"
    THROTTLED = "Throttled"
    FAILED = "Failed"
    DONE = "Done"


def parse_ids(record: Mapping[str, Any]) -> list[str]:
    """Return the possible ids of a job record."""
    return [str(record[key]) for key in ID_MEMBERS if record.get(key)]


KNOWN_STATUSES = frozenset(status.value for status in JobStatus)

_CANONICAL = {status.value.casefold(): status.value for status in JobStatus}


def parse_status(value: object) -> str:
    """Return a status as Cordial documents it, regardless of case and blanks; any other status unchanged."""
    text = str(value or "").strip()
    return _CANONICAL.get(text.casefold(), text)


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment.

    :param id: the job id that the export answered with; opaque.
    :param status: as Cordial documents it, or an unrecognized one as Cordial spells it.
    :param record: the whole record, with every member that may be a secret masked.
    """

    id: str
    status: str
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], job_id: str | None = None) -> Job:
        """Return the job of a record; ``job_id`` is the requested id, which a record need not repeat."""
        found = job_id or next(iter(parse_ids(record)), "")
        return cls(id=found, status=parse_status(record.get("status")), record=mask_members(record))

    @property
    def is_done(self) -> bool:
        return self.status == JobStatus.DONE

    @property
    def is_failed(self) -> bool:
        return self.status == JobStatus.FAILED

    @property
    def has_ended(self) -> bool:
        """Whether its status is final."""
        return self.is_done or self.is_failed

    @property
    def is_known(self) -> bool:
        """Whether the status is one that Cordial documents."""
        return self.status in KNOWN_STATUSES

    @property
    def name(self) -> str | None:
        """The export's name, if the record contains it."""
        metadata = self.record.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        return str(name) if name else None

    @property
    def started_at(self) -> datetime | None:
        """When it started, if the record contains it; Cordial does not document when it does."""
        return self._time("start")

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, if the record contains it."""
        return self._time("end")

    def _time(self, edge: str) -> datetime | None:
        times = self.record.get("times")
        try:
            moment = datetime.fromisoformat(times[edge]) if isinstance(times, Mapping) else None
        except (KeyError, TypeError, ValueError):
            return None
        return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None

    @property
    def reason(self) -> str:
        """The texts of its result; Cordial documents only numbers there."""
        result = self.record.get("result")
        texts = result.values() if isinstance(result, Mapping) else [result]
        return " ".join(text.strip().rstrip(".") + "." for text in texts if isinstance(text, str) and text.strip())

    @property
    def may_be_export(self) -> bool:
        """Whether its ``jobName`` permits an export; Cordial does not document the name for Audience Trends."""
        return not str(self.record.get("jobName") or "").startswith(OTHER_JOBS)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON, always with the job id."""
        return {**self.record, "jobId": self.id, "status": self.status}
