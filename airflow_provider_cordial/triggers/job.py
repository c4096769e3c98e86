"""JobTrigger: wait for a job in the triggerer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import CordialError
from airflow_provider_cordial.jobs.waiting import JobWatcher, build_event

#: How much later than the trigger's own deadline the framework gives up, in seconds.
BACKSTOP = 300.0


def deferral(cordial_conn_id: str, job_id: str, poll_interval: float, deadline: float) -> dict[str, Any]:
    """Return the arguments with which a task defers to a ``JobTrigger``; it goes on in its ``execute_complete``."""
    return {
        "trigger": JobTrigger(cordial_conn_id, job_id, poll_interval, deadline),
        "method_name": "execute_complete",
        "timeout": timedelta(seconds=deadline - time.time() + BACKSTOP),
    }


class JobTrigger(BaseTrigger):
    """Wait for a job, and fire one event that says everything the task needs.

    All that wait on one connection in a triggerer share one poller, one HTTP client and one pace (see ``polling``).
    Restarted anywhere it goes on with the same deadline. An error never escapes: it becomes the event. Killed, it only
    stops looking: Cordial documents no cancel.

    :param cordial_conn_id: the Airflow connection; it is read in the triggerer, and no secret is in the trigger's row.
    :param job_id: the job to wait for.
    :param poll_interval: seconds, at most, between two looks.
    :param deadline: seconds since the epoch.
    """

    # The triggerer does not survive an error here, so nothing is checked.
    def __init__(
        self,
        cordial_conn_id: str = "cordial_default",
        job_id: str = "",
        poll_interval: float = 60.0,
        deadline: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.cordial_conn_id = cordial_conn_id
        self.job_id = job_id
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments: ids and numbers only."""
        return (
            "airflow_provider_cordial.triggers.job.JobTrigger",
            {
                "cordial_conn_id": self.cordial_conn_id,
                "job_id": self.job_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the job until it ends or the deadline passes, and yield the one event."""
        outcome: Job | CordialError
        try:
            outcome = await self._wait()
        except CordialError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the task must hear of it; its text may hold a secret
            self.log.error("Waiting for job %s failed: %s", self.job_id, type(error).__name__)
            outcome = CordialError(f"Waiting for job {self.job_id} failed in the triggerer: {type(error).__name__}.")
        yield TriggerEvent(build_event(self.job_id, outcome))  # type: ignore[no-untyped-call,unused-ignore]

    async def on_kill(self) -> None:
        """Say that the job goes on; the framework calls this when a person ends the deferred task."""
        self.log.warning("The task was ended, but job %s goes on in Cordial, which has no cancel", self.job_id)

    async def _wait(self) -> Job:
        from airflow_provider_cordial.jobs.poller import joined

        since = time.time()
        async with joined(
            self.cordial_conn_id, self.job_id, poll_interval=self.poll_interval, deadline=self.deadline
        ) as (wait, connection):
            watch = JobWatcher(self.job_id, grace=connection.not_found_grace, since=since, log=self.log)
            while (look := await wait.news()) is not None:
                if job := watch.saw(look, time.time()):
                    return job
                if time.time() >= self.deadline:
                    break
            raise watch.timed_out()
