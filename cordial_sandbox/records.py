"""Jobs as the jobs resource shows them, and which of them a list asks for; pure.

Source: Cordial, "Jobs API", and the v2 Swagger document's ``JobJ``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import COMPARISONS, JobQuery, JobRow
from cordial_sandbox.validation import ApiError

#: Not documented.
DEFAULT_PER_PAGE = 25
#: Source: the Swagger document.
MAX_PER_PAGE_WITH_STATISTIC = 25

#: More than there can be of anything, and less than SQLite counts to.
_MOST = 2**31


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
    return job.created_at <= moment - behaviour.visible_after


def listed(
    find: Callable[[JobQuery], Sequence[JobRow]], params: Mapping[str, str], behaviour: Behaviour, moment: float
) -> list[dict[str, Any]]:
    """Return one page of the list.

    :param find: returns the jobs that a query asks for.
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
        for name in COMPARISONS
        if (value := params.get(f"times[{edge}][{name}]")) is not None
    ]
    if params.get("jobName", behaviour.job_name) != behaviour.job_name:
        return []
    if behaviour.max_per_page is not None:
        per_page = min(per_page, behaviour.max_per_page)
    query = JobQuery(
        created_by=moment - behaviour.visible_after,
        newest=behaviour.list_tells,
        status=params.get("status"),
        times=times,
        oldest_first=behaviour.list_order == "oldest",
        offset=(page - 1) * per_page,
        limit=per_page,
    )
    return [record_of(job, behaviour) for job in find(query)]


def only(record: dict[str, Any], fields: str | None) -> dict[str, Any]:
    """Return the members of a record that ``fields``, a list with commas, asks for."""
    wanted: Sequence[str] = [name.strip() for name in (fields or "").split(",") if name.strip()]
    return {name: record[name] for name in wanted if name in record} if wanted else record


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
    if not 1 <= number <= _MOST:
        raise ApiError(422, f"The {name} must be a whole number from 1 to {_MOST}.", "VALIDATION_ERROR")  # inferred
    return number


def _timestamp(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S%z")
