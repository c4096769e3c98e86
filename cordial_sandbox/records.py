"""Job records and pages of the job list, as pure functions.

Source: Cordial, "Jobs API", and the v2 Swagger document's ``JobJ``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cordial_sandbox.exports import KINDS
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import COMPARISONS, JobQuery
from cordial_sandbox.tables import JobRow
from cordial_sandbox.validation import ApiError

#: Source: the Swagger document.
MAX_PER_PAGE_WITH_STATISTIC = 25

#: Source: the Swagger document's filter.
STATUSES = ("Scheduled", "Pending", "Processing", "Throttled", "Failed", "Done")
#: Source: the Swagger document's ``JobJ``, and the inferred ids.
_MEMBERS = (
    *("_id", "id", "jobId", "jobID", "status", "jobName", "totalItems", "completedItems"),
    *("times", "result", "metadata", "run", "statistic"),
)

#: How a time ends, by ``record_times``.
_TIME_ENDS = {"+0000": "+0000", "+00:00": "+00:00", "Z": "Z", "milliseconds": ".000Z", "no_offset": ""}

_JOB_PARAMETERS = ("fields", "include")
_LIST_PARAMETERS = (
    *("jobName", "status", "page", "per_page", "include"),
    *(f"times[{edge}][{comparison}]" for edge in ("start", "end") for comparison in COMPARISONS),
)

#: Larger than any real value, and small enough for SQLite's 64-bit integers.
_MAX_NUMBER = 2**31


def build_record(job: JobRow, behaviour: Behaviour) -> dict[str, Any]:
    """Return a job's record."""
    items = None if job.started_at is None else max(1, len(job.audiences))
    metadata: dict[str, Any] = {"exportType": job.request["exportType"]}
    if behaviour.list_names:
        metadata["name"] = job.name
    times = {"start": _format_time(job.started_at, behaviour), "end": _format_time(job.ended_at, behaviour)}
    result = {"error": 1, **({"message": job.reason} if behaviour.failure_text else {})}
    record: dict[str, Any] = {
        "status": job.status,
        "jobName": KINDS[job.kind].job_name or behaviour.job_name,
        "totalItems": items,
        "completedItems": items and (items if job.status == "Done" else 0),
        "times": times,
        "result": result if job.status == "Failed" else [] if behaviour.empty_members == "list" else None,
        "metadata": metadata,
    }
    if behaviour.record_id is not None:
        record[behaviour.record_id] = job.id
    return _omit_nulls(record) if behaviour.empty_members == "absent" else record


def build_answer(job_id: str, behaviour: Behaviour) -> dict[str, str]:
    """Return the answer to the export that created a job."""
    return {} if behaviour.answer_id is None else {behaviour.answer_id: job_id}


def is_visible(job: JobRow, behaviour: Behaviour, now: float) -> bool:
    return job.created_at <= _created_by(behaviour, now)


def _created_by(behaviour: Behaviour, now: float) -> float:
    # Without a delay every job is visible, also one from before the clock was set back.
    return now - behaviour.visible_after if behaviour.visible_after else math.inf


def build_page(
    find: Callable[[JobQuery], Sequence[JobRow]], params: Mapping[str, str], behaviour: Behaviour, now: float
) -> list[dict[str, Any]]:
    """Return one page of the job list.

    :param find: returns the jobs that match a query.
    :raises ApiError: a parameter is invalid.
    """
    return [build_record(job, behaviour) for job in find(_parse_query(params, behaviour, now))]


def select_fields(record: dict[str, Any], fields: str | None) -> dict[str, Any]:
    """Return the members of a record that ``fields``, a comma-separated list, names; all of them if it is empty.

    :raises ApiError: a name is that of no member.
    """
    wanted: Sequence[str] = [name.strip() for name in (fields or "").split(",") if name.strip()]
    if any(name not in _MEMBERS for name in wanted):
        # The status and the message are inferred.
        raise ApiError(422, f"The fields must be some of {', '.join(_MEMBERS)}.", "VALIDATION_ERROR")
    return {name: record[name] for name in wanted if name in record} if wanted else record


def check_parameters(params: Mapping[str, str], known: Collection[str] = _JOB_PARAMETERS) -> None:
    """Check the names of parameters, and ``include``, a comma-separated list whose only known item is ``statistic``.

    :raises ApiError: a name or an item is unknown; the status and the messages are inferred, and so is the refusal: a
        filter with a misspelled name would find every job.
    """
    if unknown := sorted(set(params) - set(known)):
        raise ApiError(422, f"The parameter {unknown[0]} is not known.", "VALIDATION_ERROR")
    if any(item.strip() != "statistic" for item in params.get("include", "statistic").split(",")):
        raise ApiError(422, "The include must be statistic.", "VALIDATION_ERROR")


def _parse_query(params: Mapping[str, str], behaviour: Behaviour, now: float) -> JobQuery:
    check_parameters(params, _LIST_PARAMETERS)
    status = params.get("status")
    if status not in (None, *STATUSES):
        raise ApiError(422, f"The status must be one of {', '.join(STATUSES)}.", "VALIDATION_ERROR")  # inferred
    page = _parse_number(params, "page", 1)
    per_page = _parse_number(params, "per_page", behaviour.default_per_page)
    if "include" in params and per_page > MAX_PER_PAGE_WITH_STATISTIC:
        msg = f"When include=statistic is requested, per_page must not exceed {MAX_PER_PAGE_WITH_STATISTIC}."
        raise ApiError(400, msg, "JOBS_STATISTIC_PER_PAGE_EXCEEDED")
    times = [
        (edge, name, _parse_time(value))
        for edge in ("start", "end")
        for name in COMPARISONS
        if (value := params.get(f"times[{edge}][{name}]")) is not None
    ]
    if behaviour.max_per_page is not None:
        per_page = min(per_page, behaviour.max_per_page)
    return JobQuery(
        created_by=_created_by(behaviour, now),
        newest=behaviour.list_tells,
        job_names=_find_kinds(params.get("jobName"), behaviour),
        status=status,
        times=times,
        oldest_first=behaviour.list_order == "oldest",
        offset=(page - 1) * per_page,
        limit=per_page,
    )


def _find_kinds(job_name: str | None, behaviour: Behaviour) -> Sequence[str] | None:
    if job_name is None:
        return None
    return [path for path, kind in KINDS.items() if (kind.job_name or behaviour.job_name) == job_name]


def _parse_time(text: str) -> float:
    # A client that does not encode the plus sign of an offset sends a space.
    rfc_3339 = re.sub(r"^(.*T.*) (\d\d:?\d\d)$", r"\1+\2", text.upper())
    for parse in (_parse_american, datetime.fromisoformat):
        try:
            time = parse(rfc_3339)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    raise ApiError(422, "Time value is incorrect")


def _parse_american(text: str) -> datetime:
    # The article's example, 01-01-2025, does not show which number is the month. The sandbox reads month first.
    return datetime.strptime(text, "%m-%d-%Y").replace(tzinfo=UTC)


def _parse_number(params: Mapping[str, str], name: str, default: int) -> int:
    try:
        number = int(params.get(name, default))
    except ValueError:
        number = 0
    if not 1 <= number <= _MAX_NUMBER:
        # The message is inferred.
        raise ApiError(422, f"The {name} must be a whole number from 1 to {_MAX_NUMBER}.", "VALIDATION_ERROR")
    return number


def _format_time(timestamp: float | None, behaviour: Behaviour) -> str | None:
    if timestamp is None:
        return None
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S") + _TIME_ENDS[behaviour.record_times]


def _omit_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without null, and without the objects that contain nothing else."""
    kept = {name: _omit_nulls(value) if isinstance(value, Mapping) else value for name, value in record.items()}
    return {name: value for name, value in kept.items() if value not in (None, {})}
