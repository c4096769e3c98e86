"""Jobs as the jobs resource shows them, and which of them a list asks for; pure.

Source: Cordial, "Jobs API", and the v2 Swagger document's ``JobJ``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import JobRow
from cordial_sandbox.validation import ApiError

#: Not documented.
DEFAULT_PER_PAGE = 25
#: Source: the Swagger document.
MAX_PER_PAGE_WITH_STATISTIC = 25

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def record_of(job: JobRow, behaviour: Behaviour) -> dict[str, Any]:
    """Return a job's record."""
    done = job.status == "Done"
    metadata: dict[str, Any] = {"exportType": "csv"}
    if behaviour.list_names:
        metadata["name"] = job.name
    record: dict[str, Any] = {
        "status": job.status,
        "jobName": behaviour.job_name,
        "totalItems": len(job.audiences),
        "completedItems": len(job.audiences) if done else 0,
        "times": {"start": _timestamp(job.started_at), "end": _timestamp(job.ended_at)},
        "metadata": metadata,
    }
    if behaviour.list_ids:
        record["_id"] = job.id
    if job.status == "Failed":
        record["result"] = {"error": 1, **({"message": job.reason} if behaviour.failure_text else {})}
    return record


def is_visible(job: JobRow, behaviour: Behaviour, moment: float) -> bool:
    return moment >= job.created_at + behaviour.visible_after


def listed(
    jobs: Iterable[JobRow], params: Mapping[str, str], behaviour: Behaviour, moment: float
) -> list[dict[str, Any]]:
    """Return one page of the list.

    :raises ApiError: a parameter is wrong.
    """
    page = _whole(params, "page", 1)
    per_page = _whole(params, "per_page", DEFAULT_PER_PAGE)
    if params.get("include") == "statistic" and per_page > MAX_PER_PAGE_WITH_STATISTIC:
        msg = f"When include=statistic is requested, per_page must not exceed {MAX_PER_PAGE_WITH_STATISTIC}."
        raise ApiError(400, msg, "JOBS_STATISTIC_PER_PAGE_EXCEEDED")
    times = [
        (edge, name, _time(value))
        for edge in ("start", "end")
        for name in _COMPARE
        if (value := params.get(f"times[{edge}][{name}]")) is not None
    ]
    found = [
        job
        for job in jobs
        if is_visible(job, behaviour, moment)
        and params.get("status", job.status) == job.status
        and params.get("jobName", behaviour.job_name) == behaviour.job_name
        and all(_within(job, *time) for time in times)
    ]
    return [record_of(job, behaviour) for job in found[(page - 1) * per_page : page * per_page]]


def only(record: dict[str, Any], fields: str | None) -> dict[str, Any]:
    """Return the members of a record that ``fields``, a list with commas, asks for."""
    wanted: Sequence[str] = [name.strip() for name in (fields or "").split(",") if name.strip()]
    return {name: record[name] for name in wanted if name in record} if wanted else record


def _within(job: JobRow, edge: str, name: str, limit: float) -> bool:
    at = job.started_at if edge == "start" else job.ended_at
    # In whole seconds, as a record shows them: who sends back what was shown finds the job.
    return at is not None and _COMPARE[name](math.floor(at), limit)


def _time(text: str) -> float:
    for read in (_american, datetime.fromisoformat):
        try:
            moment = read(text)
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise ApiError(422, "Time value is incorrect")


def _american(text: str) -> datetime:
    # The article shows 01-01-2025, and which of the two is the month is not documented; here it is the first.
    return datetime.strptime(text, "%m-%d-%Y").replace(tzinfo=UTC)


def _whole(params: Mapping[str, str], name: str, default: int) -> int:
    try:
        number = int(params.get(name, default))
    except ValueError:
        number = 0
    if number < 1:
        raise ApiError(422, f"The {name} must be a whole number above 0.", "VALIDATION_ERROR")  # inferred
    return number


def _timestamp(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S%z")
