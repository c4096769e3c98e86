"""Wait for a job in the task's own process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import AccessError, CordialError
from airflow_provider_cordial.jobs.watcher import Log, build_watcher

if TYPE_CHECKING:
    from airflow_provider_cordial.hooks.cordial import CordialHook


#: Seconds that the last poll, at the deadline, may take.
LAST_POLL_TIMEOUT = 10.0


def compute_poll_timeout(left: float) -> float:
    """Return the timeout of a poll, in seconds.

    :param left: seconds until the deadline.
    """
    return left if left > 1 else LAST_POLL_TIMEOUT


def poll_once(hook: CordialHook, job_id: str, *, timeout: float | None = None) -> Job | CordialError:
    """Poll a job once, and return the job or the error.

    :param timeout: seconds; by default the connection's timeouts apply to each attempt.
    """
    try:
        return hook.get_job(job_id, timeout=timeout)
    except CordialError as error:
        if isinstance(error, AccessError):
            # The key may have been rotated.
            hook.reconnect()
        return error


def wait_for_job(hook: CordialHook, job_id: str, *, poll_interval: float, deadline: float, log: Log) -> Job:
    """Wait for a job and return it when it is Done.

    :param poll_interval: the longest pause between two polls, in seconds.
    :param deadline: seconds since the epoch.
    :raises CordialError: see ``JobWatcher.observe`` and ``JobWatcher.timeout_error``.
    """
    watcher = build_watcher(job_id, hook.connection, since=time.time(), log=log)
    while True:
        timeout = compute_poll_timeout(deadline - time.time())
        if job := watcher.observe(poll_once(hook, job_id, timeout=timeout), time.time()):
            return job
        left = deadline - time.time()
        if left <= 0:
            raise watcher.timeout_error()
        time.sleep(min(watcher.pause(poll_interval, time.time()), left))


def poll_last_time(hook: CordialHook, job_id: str, *, log: Log) -> Job:
    """Poll a job once after its wait has ended, and return it if it is Done.

    :raises CordialError: as ``wait_for_job`` at its deadline.
    """
    return wait_for_job(hook, job_id, poll_interval=0.0, deadline=0.0, log=log)
