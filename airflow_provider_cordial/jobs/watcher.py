"""JobWatcher: the rules that interpret the results of polling a job, for sensor, operator, and trigger. No I/O.

Done is the only success, and Failed the only failure that Cordial reports; every other status, known or not, continues
the wait. A temporary failure does not end a wait; the deadline does.
"""

from __future__ import annotations

from typing import Protocol

from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.job import Job, JobStatus
from airflow_provider_cordial.exceptions import (
    AccessError,
    CordialError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    NotFoundError,
    RateLimitError,
    RefusedError,
    TransientError,
    UnknownJobStatusError,
    answered_by_another,
)
from airflow_provider_cordial.jobs.schedule import compute_pause, jitter

#: Rejections in a row that end a wait at the earliest: a poll can take longer than the grace period, and the next
#: rejection may have another cause.
MIN_REJECTIONS = 3


class Log(Protocol):
    """The used part of a logger; the loggers of Airflow's classes are not those of the standard library."""

    def info(self, text: str, /, *args: object) -> object: ...
    def warning(self, text: str, /, *args: object) -> object: ...


def build_watcher(job_id: str, connection: CordialConnection, *, since: float, log: Log) -> JobWatcher:
    """Return a watcher with the limits that a connection sets."""
    return JobWatcher(
        job_id,
        grace=connection.not_found_grace,
        since=since,
        max_wait=connection.max_wait,
        rejection_grace=connection.rejection_grace,
        log=log,
    )


class JobWatcher:
    """Observes the result of each poll of a job, and decides whether the wait is over.

    :param grace: seconds from ``since`` during which the job may be unknown to Cordial.
    :param since: when the wait started, as seconds since the epoch.
    :param max_wait: the longest ``Retry-After`` to honor, in seconds.
    :param rejection_grace: seconds during which a rejection by something in front of Cordial continues the wait, and so
        do 401 and 403: a key is rotated, a firewall is updated.
    :param log: receives one line per change.
    """

    def __init__(
        self, job_id: str, *, grace: float, since: float, max_wait: float, rejection_grace: float, log: Log
    ) -> None:
        self.job_id = job_id
        self.job: Job | None = None
        self.since = since
        self._grace = grace
        self._max_wait = max_wait
        self._rejection_grace = rejection_grace
        self._rejected_since: float | None = None
        self._rejections = 0
        self._log = log
        self._last_state = ""
        self._retry_after = 0.0

    @property
    def is_rejected(self) -> bool:
        """Whether the last result was a rejection within its grace period."""
        return self._rejected_since is not None

    def observe(self, result: Job | CordialError, now: float) -> Job | None:
        """Return the job if it is Done, and None if the wait continues.

        :raises JobFailedError: it Failed.
        :raises JobNotFoundError: Cordial does not know it, and the grace period is over.
        :raises RefusedError: Cordial rejects the request; 401 and 403 only after their grace period.
        :raises ServerError: something in front of Cordial rejects the request, after the same grace period.
        """
        requested = (result.retry_after or 0.0) if isinstance(result, RateLimitError) else 0.0
        self._retry_after = min(requested, self._max_wait)
        if isinstance(result, AccessError) or (isinstance(result, RefusedError) and not result.is_from_cordial):
            self._observe_rejection(result, now)
            return None
        self._rejected_since = None
        if isinstance(result, Job):
            return self._observe_job(result)
        if isinstance(result, NotFoundError):
            self._observe_not_found(result, now)
        elif isinstance(result, TransientError):
            self._log_change(
                type(result).__name__, "Job %s: %s Polling continues.", self.job_id, result.message, warn=True
            )
        else:
            raise result
        return None

    def pause(self, poll_interval: float, now: float) -> float:
        """Return the seconds until the next poll; a ``Retry-After`` can extend them."""
        return self.at_least(compute_pause(now - self.since, poll_interval) * jitter())

    def at_least(self, seconds: float) -> float:
        """Return the seconds, or the ``Retry-After`` of the last result if it is longer."""
        return max(seconds, self._retry_after)

    def timeout_error(self) -> JobTimeoutError:
        """Return the error for an expired deadline, with the last status."""
        if self.job is None:
            msg = (
                f"Job {self.job_id} did not end before the deadline, and its status could never be read. "
                "Check Cordial's Jobs page."
            )
            return JobTimeoutError(msg)
        if not self.job.is_known:
            msg = (
                f"Job {self.job_id} did not end before the deadline. Unrecognized status {self.job.status!r}: expected "
                f"one of {', '.join(JobStatus)}. Check Cordial's Jobs page."
            )
            return UnknownJobStatusError(msg, job=self.job)
        msg = (
            f"Job {self.job_id} did not end before the deadline; its last status was {self.job.status}. The job may "
            "still finish; Cordial jobs cannot be cancelled. Set a longer timeout, or check Cordial's Jobs page."
        )
        return JobTimeoutError(msg, job=self.job)

    def _observe_job(self, job: Job) -> Job | None:
        self.job = job
        if job.is_failed:
            what = f"Job {job.id} Failed" + (f": {job.reason}" if job.reason else ".")
            msg = (
                f"{what} Check Cordial's Jobs page and Account Monitor for the reason; a wrong destination is the "
                f"usual one. Job record: {job.to_json()}."
            )
            raise JobFailedError(msg, job=job)
        if job.is_known:
            self._log_change(job.status, "Job %s is %s", job.id, job.status)
        else:
            self._log_change(
                job.status, "Job %s has the unrecognized status %r; polling continues", job.id, job.status, warn=True
            )
        return job if job.is_done else None

    def _observe_rejection(self, error: RefusedError, now: float) -> None:
        if self._rejected_since is None:
            self._rejected_since, self._rejections = now, 0
        self._rejections += 1
        if now - self._rejected_since < self._rejection_grace or self._rejections < MIN_REJECTIONS:
            self._log_change(
                type(error).__name__, "Job %s: %s Polling continues.", self.job_id, error.message, warn=True
            )
            return
        if error.is_from_cordial:
            raise error
        msg = f"Job {self.job_id} could not be polled for {now - self._rejected_since:.0f} s: {error.message}"
        raise answered_by_another(error, msg)

    def _observe_not_found(self, error: NotFoundError, now: float) -> None:
        if now - self.since < self._grace:
            self._log_change("not found", "Job %s is not known to Cordial yet", self.job_id)
            return
        msg = (
            f"Job {self.job_id} is unknown to Cordial {now - self.since:.0f} s after the wait started. Check that the "
            "job id and the Airflow connection belong to the same account; Cordial keeps job records for 60 days."
        )
        raise JobNotFoundError(msg, status=error.status, error_key=error.error_key) from error

    def _log_change(self, state: str, text: str, *args: object, warn: bool = False) -> None:
        if state != self._last_state:
            self._last_state = state
            (self._log.warning if warn else self._log.info)(text, *args)
