"""Wait for a job: what a look at it means, the same for sensor, operator and trigger; without I/O, but for ``wait``.

Done is the only success and Failed the only failure that Cordial tells of; every other status, known or not, is waited
on. What may pass does not end a wait; a deadline does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_cordial.client.job import Job, JobStatus
from airflow_provider_cordial.exceptions import (
    AwaitedJobFailedError,
    BadEventError,
    CordialError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    NotFoundError,
    RateLimitError,
    SensorJobTimeoutError,
    SensorUnknownJobStatusError,
    TransientError,
    UnknownJobStatusError,
    error_from_json,
)

if TYPE_CHECKING:
    from airflow_provider_cordial.hooks.cordial import CordialHook


#: How long before a task's ``execution_timeout`` a wait is given up, in seconds.
SPARE = 10.0

#: The shortest pause between two looks at a job where the poll interval is longer, in seconds.
SHORTEST_PAUSE = 10.0


class Log(Protocol):
    """What of a logger is needed; the loggers of Airflow's classes are none of the standard library's."""

    def info(self, text: str, /, *args: object) -> object: ...
    def warning(self, text: str, /, *args: object) -> object: ...


class JobWatcher:
    """One wait: takes what each look at the job came to, and says whether it is over.

    :param grace: seconds in which the job may still be unknown to Cordial, from ``since`` on.
    :param since: when the wait began, as seconds since the epoch.
    :param log: gets one line per change.
    """

    def __init__(self, job_id: str, *, grace: float, since: float, log: Log) -> None:
        self.job_id = job_id
        self.job: Job | None = None
        self._grace = grace
        self._since = since
        self._log = log
        self._last_news = ""
        self._asked_to_wait = 0.0

    def saw(self, look: Job | CordialError, now: float) -> Job | None:
        """Return the job if it is Done, and None if the wait goes on.

        :raises JobFailedError: it is Failed.
        :raises JobNotFoundError: Cordial does not know it, and the grace period is over.
        :raises RefusedError: Cordial does not let us look.
        """
        self._asked_to_wait = (look.retry_after or 0.0) if isinstance(look, RateLimitError) else 0.0
        if isinstance(look, Job):
            return self._saw_job(look)
        if isinstance(look, NotFoundError):
            self._saw_nothing(look, now)
        elif isinstance(look, TransientError):
            self._tell(type(look).__name__, "Job %s: %s The wait goes on.", self.job_id, look, warn=True)
        else:
            raise look
        return None

    def pause(self, poll_interval: float, now: float) -> float:
        """Return how many seconds to wait before the next look: longer where Cordial asks for it."""
        return self.at_least(pause_after(now - self._since, poll_interval) * jitter())

    def at_least(self, seconds: float) -> float:
        """Return the seconds, or more where Cordial asked for it at the last look."""
        return max(seconds, self._asked_to_wait)

    def timed_out(self) -> JobTimeoutError:
        """Return the error for a deadline that has passed, with the last status seen."""
        if self.job is None:
            msg = f"Job {self.job_id} did not end before the deadline; its status could not be read even once."
            return JobTimeoutError(msg)
        if not self.job.is_known:
            msg = (
                f"Job {self.job_id} did not end before the deadline. Its last status, {self.job.status!r}, is none "
                f"that this provider knows ({', '.join(JobStatus)}). Look at Cordial's Jobs page."
            )
            return UnknownJobStatusError(msg, job=self.job)
        msg = (
            f"Job {self.job_id} did not end before the deadline; its last status was {self.job.status}. It may still "
            "end: Cordial has no cancel. Give a longer timeout, or look at Cordial's Jobs page."
        )
        return JobTimeoutError(msg, job=self.job)

    def _saw_job(self, job: Job) -> Job | None:
        self.job = job
        if job.is_failed:
            msg = (
                f"Job {job.id} Failed. All that Cordial says of it: {job.to_json()}. See Cordial's Jobs page and "
                "Account Monitor for the reason; a wrong destination is the usual one."
            )
            raise JobFailedError(msg, job=job)
        if job.is_known:
            self._tell(job.status, "Job %s is %s", job.id, job.status)
        else:
            self._tell(job.status, "Job %s has the unknown status %r; waiting on", job.id, job.status, warn=True)
        return job if job.is_done else None

    def _saw_nothing(self, error: NotFoundError, now: float) -> None:
        if now - self._since < self._grace:
            self._tell("not found", "Job %s is not known to Cordial yet", self.job_id)
            return
        msg = (
            f"Job {self.job_id} is not known to Cordial {now - self._since:.0f} s after the wait began. Check that the "
            "job id and the Airflow connection belong to the same account; Cordial keeps job records for 60 days."
        )
        raise JobNotFoundError(msg, status=error.status, error_key=error.error_key) from error

    def _tell(self, news: str, text: str, *args: object, warn: bool = False) -> None:
        if news != self._last_news:
            self._last_news = news
            (self._log.warning if warn else self._log.info)(text, *args)


def pause_after(waited: float, poll_interval: float) -> float:
    """Return how many seconds to wait before the next look: little for a young wait, ``poll_interval`` for an old one.

    :param waited: seconds since the wait began.
    """
    return min(poll_interval, max(SHORTEST_PAUSE, waited / 2))


def jitter() -> float:
    """Return a factor for a pause, so that waits that began together do not look together for ever."""
    return random.uniform(0.9, 1.0)  # noqa: S311 - no secret


def poll_once(hook: CordialHook, job_id: str) -> Job | CordialError:
    """Look at a job once; an error of Cordial's is a finding too."""
    try:
        return hook.get_job(job_id)
    except CordialError as error:
        return error


def wait(hook: CordialHook, job_id: str, *, poll_interval: float, deadline: float, log: Log) -> Job:
    """Wait for a job in this process, and return it when it is Done.

    :param poll_interval: seconds, at most, between two looks.
    :param deadline: seconds since the epoch.
    :raises CordialError: see ``JobWatcher.saw`` and ``JobWatcher.timed_out``.
    """
    watch = JobWatcher(job_id, grace=hook.connection.not_found_grace, since=time.time(), log=log)
    while True:
        if job := watch.saw(poll_once(hook, job_id), time.time()):
            return job
        left = deadline - time.time()
        if left <= 0:
            raise watch.timed_out()
        time.sleep(min(watch.pause(poll_interval, time.time()), left))


def last_look(hook: CordialHook, job_id: str, *, log: Log) -> Job:
    """Look at a job once, after a wait that was given up; return it if it is Done.

    :raises CordialError: as ``wait`` does at its deadline.
    """
    return wait(hook, job_id, poll_interval=0.0, deadline=0.0, log=log)


def compute_deadline(timeout: float, execution_timeout: timedelta | None) -> float:
    """Return when a wait that begins now is given up, as seconds since the epoch.

    :param timeout: seconds.
    :param execution_timeout: of the task. It is left a little before its end: Airflow's own error says nothing of the
        job, and while a task is deferred Airflow does not look at it at all.
    """
    seconds = timeout
    if execution_timeout is not None:
        limit = execution_timeout.total_seconds()
        seconds = min(timeout, limit - min(SPARE, limit / 10))
    return time.time() + seconds


def build_event(job_id: str, outcome: Job | CordialError) -> dict[str, Any]:
    """Return the event of a trigger: everything that the task needs to go on, as plain JSON."""
    job = outcome if isinstance(outcome, Job) else getattr(outcome, "job", None)
    return {
        "status": "success" if isinstance(outcome, Job) else "error",
        "job_id": job_id,
        "job": job.to_json() if job else None,
        "error": None if isinstance(outcome, Job) else outcome.to_json(),
    }


def parse_event(event: Any, job_id: str | None = None) -> Job:
    """Return the Done job of a trigger's event.

    :param job_id: the job that the task waits for, where it knows it.
    :raises BadEventError: the event is not understood; it is never taken for a success.
    :raises CordialError: the error that ended the wait.
    """
    if not isinstance(event, Mapping) or not isinstance(event.get("job_id"), str):
        msg = f"The trigger's event {event!r} is not understood, so it is taken for a failure. The job may be Done."
        raise BadEventError(msg)
    if job_id is not None and event["job_id"] != job_id:
        msg = f"The trigger's event is of job {event['job_id']}, but the task waits for job {job_id}."
        raise BadEventError(msg)
    record = event.get("job")
    job = Job.from_record(record, event["job_id"]) if isinstance(record, Mapping) else None
    if event.get("status") == "success" and job is not None and job.is_done:
        return job
    if event.get("status") == "error" and isinstance(event.get("error"), Mapping):
        error = error_from_json(dict(event["error"]))
        if isinstance(error, JobError):
            error.job = job
        raise error
    msg = f"The trigger's event {dict(event)!r} says neither Done nor why not, so it is taken for a failure."
    raise BadEventError(msg)


def for_sensor(error: CordialError) -> CordialError:
    """Return an error as a sensor must raise it: where waiting again cannot help, the task is not retried."""
    classes: dict[type[CordialError], type[JobError]] = {
        JobFailedError: AwaitedJobFailedError,
        JobTimeoutError: SensorJobTimeoutError,
        UnknownJobStatusError: SensorUnknownJobStatusError,
    }
    found = classes.get(type(error))
    return found(error.message, job=getattr(error, "job", None)) if found else error
