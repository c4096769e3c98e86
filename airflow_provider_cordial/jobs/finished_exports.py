"""FinishedExports: the export jobs of an account that became Done since the last poll. No I/O.

A job is identified by its id or, if its record has none, by its name and times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_cordial.client.job import Job, parse_ids

#: Ended jobs to remember across a restart: Airflow's state store limits a value to 64 kB by default.
MAX_REMEMBERED = 1500

_DIGEST_LENGTH = 12

Row = Mapping[str, Any]


class FinishedExports:
    """Remembers which jobs have ended, and reports each export once, whoever submitted it.

    :param remembered: the output of ``to_json``, or None if the account was never polled.
    """

    def __init__(self, remembered: Any = None) -> None:
        known = remembered if isinstance(remembered, Mapping) else None
        self._is_first_poll = known is None
        #: The digest of each job, and its end in seconds since the epoch; 0 if unknown.
        self._ended: dict[str, float] = dict(known["ended"]) if known else {}
        #: Jobs that ended until this moment are known as well, although their digests were dropped.
        self._until: float = known["until"] if known else 0.0
        self._ids: set[str] = set()
        self._unfinished: set[str] = set()
        self._is_newest_first = False

    def to_json(self) -> dict[str, Any]:
        """Return what to remember across a restart."""
        by_end = sorted(self._ended.items(), key=lambda item: item[1])
        dropped, kept = by_end[:-MAX_REMEMBERED], by_end[-MAX_REMEMBERED:]
        return {"ended": dict(kept), "until": max([self._until, *(end for _, end in dropped)])}

    def is_sufficient(self, page: Sequence[Row], rows: Sequence[Row]) -> bool:
        """Return whether the pages after this one contain nothing new.

        Cordial does not document the order of the list, so this is only True if the list was found to start with the
        newest jobs, and all rows have ids.

        :param rows: of all pages so far.
        """
        return (
            self._is_newest_first
            and all(self._ids.issuperset(parse_ids(row)) for row in page)
            and self._unfinished.issubset(job_id for row in rows for job_id in parse_ids(row))
        )

    def observe(self, rows: Sequence[Row], *, is_complete: bool) -> list[Job]:
        """Return the export jobs that became Done since the last poll, in the order of their ends.

        :param is_complete: whether the rows are the whole list.
        """
        jobs = [Job.from_record(row) for row in rows]
        fresh: list[Job] = []
        self._unfinished = set()
        for job in jobs:
            ids = parse_ids(job.record)
            self._ids.update(ids)
            if not job.has_ended:
                self._unfinished.update(ids)
                continue
            digest, end = _digest(job), _end(job)
            if digest not in self._ended and not 0 < end <= self._until:
                fresh.append(job)
            self._ended.setdefault(digest, end)
        if is_complete:
            starts = [job.started_at for job in jobs if job.started_at]
            self._is_newest_first = len(starts) > 1 and starts[0] >= starts[-1] and all(map(parse_ids, rows))
        # Jobs that had ended before the first poll are not reported.
        finished = [] if self._is_first_poll else [job for job in fresh if job.is_done and job.may_be_export]
        self._is_first_poll = False
        return sorted(finished, key=_end)


def _end(job: Job) -> float:
    return job.ended_at.timestamp() if job.ended_at else 0.0


def _digest(job: Job) -> str:
    record = job.record
    identity: Sequence[Any] = parse_ids(record)[:1] or [record.get("jobName"), job.name, record.get("times")]
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:_DIGEST_LENGTH]
