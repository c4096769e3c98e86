"""JobSearch: search the list of jobs for an export, and know when the rest of the list cannot contain it. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exports.identity import parse_generation


class JobSearch:
    """Collects listed jobs until the export is found, or only jobs from before its submission can follow.

    Cordial does not document the order of the list, so the latter holds only as long as the list is newest first.

    :param name: the export's name in the first generation.
    :param generation: the generation at which the search ends; None if the whole list matters, because other runs share
        the name or the generation is unknown.
    :param since: a moment before the submission, clock skew included; None if unknown.
    """

    def __init__(self, name: str, generation: int | None, since: datetime | None) -> None:
        self.jobs: list[Job] = []
        self._name = name
        self._generation = generation
        self._since = since
        self._is_newest_first = True
        self._newest: datetime | None = None
        self._last: datetime | None = None

    def run(self, listed: Iterable[Job]) -> bool:
        """Take listed jobs, and return whether the search ended before the list did."""
        for job in listed:
            self.jobs.append(job)
            if job.id and self._generation is not None and parse_generation(job.name, self._name) == self._generation:
                return True
            if self._is_older(job.started_at):
                return True
        return False

    def _is_older(self, started_at: datetime | None) -> bool:
        if started_at is None:
            return False
        self._is_newest_first &= self._last is None or started_at <= self._last
        self._newest, self._last = self._newest or started_at, started_at
        return (
            self._is_newest_first
            # One job, or jobs of one moment, show no order.
            and started_at < self._newest
            and self._since is not None
            and started_at < self._since
        )
