"""Watch an account: which export jobs have become Done since the last look, whoever started them; pure.

A job is known by its id, or, where a record carries none, by all that tells it from others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_cordial.client.job import Job, parse_ids

#: How many ended jobs are remembered over a restart one by one: Airflow's state store takes 64 kB a value by default.
KEPT = 1500

_DIGEST_LENGTH = 12

Row = Mapping[str, Any]


class FinishedExports:
    """The jobs that have ended and were told of, or had ended before anybody watched.

    :param remembered: what ``to_json`` returned, or None where nothing was ever watched.
    """

    def __init__(self, remembered: Any = None) -> None:
        known = remembered if isinstance(remembered, Mapping) else None
        self._is_first_look = known is None
        #: Digest, and end as seconds since the epoch, 0 where it is not told.
        self._ended: dict[str, float] = dict(known["ended"]) if known else {}
        #: Jobs that ended before are known, too.
        self._until: float = known["until"] if known else 0.0
        self._ids: set[str] = set()
        self._unended: set[str] = set()
        self._is_newest_first = False

    def to_json(self) -> dict[str, Any]:
        """Return what to remember over a restart."""
        by_end = sorted(self._ended.items(), key=lambda item: item[1])
        forgotten, kept = by_end[:-KEPT], by_end[-KEPT:]
        return {"ended": dict(kept), "until": max([self._until, *(end for _, end in forgotten)])}

    def suffices(self, page: Sequence[Row], rows: Sequence[Row]) -> bool:
        """Tell whether nothing new can be on the pages after this one.

        Cordial does not document the order of the list, so this is only ever so where it was seen to begin with the
        newest, and all rows had ids.

        :param rows: of all pages so far.
        """
        return (
            self._is_newest_first
            and all(self._ids.issuperset(parse_ids(row)) for row in page)
            and self._unended.issubset(job_id for row in rows for job_id in parse_ids(row))
        )

    def news(self, rows: Sequence[Row], *, whole: bool) -> list[Job]:
        """Take in what a look has found, and return the export jobs that have become Done, the first to end first.

        :param whole: whether the rows are all there are.
        """
        jobs = [Job.from_record(row) for row in rows]
        fresh: list[Job] = []
        self._unended = set()
        for job in jobs:
            ids = parse_ids(job.record)
            self._ids.update(ids)
            if not (job.is_done or job.is_failed):
                self._unended.update(ids)
                continue
            digest, end = _digest(job), _end(job)
            if digest not in self._ended and not 0 < end <= self._until:
                fresh.append(job)
            self._ended.setdefault(digest, end)
        if whole:
            starts = [job.started_at for job in jobs if job.started_at]
            self._is_newest_first = len(starts) > 1 and starts[0] >= starts[-1] and all(map(parse_ids, rows))
        # What had ended before anybody watched is no news.
        told = [] if self._is_first_look else [job for job in fresh if job.is_done and job.may_be_export]
        self._is_first_look = False
        return sorted(told, key=_end)


def _end(job: Job) -> float:
    return job.ended_at.timestamp() if job.ended_at else 0.0


def _digest(job: Job) -> str:
    record = job.record
    what: Sequence[Any] = parse_ids(record)[:1] or [record.get("jobName"), job.name, record.get("times")]
    return hashlib.sha256(repr(what).encode()).hexdigest()[:_DIGEST_LENGTH]
