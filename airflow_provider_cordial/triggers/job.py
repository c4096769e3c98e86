"""JobTrigger: wait for a job in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cordial.exceptions import ConnectionFailedError, CordialError
from airflow_provider_cordial.hooks.async_client import AsyncCordialClient, read_connection
from airflow_provider_cordial.jobs import Job
from airflow_provider_cordial.waiting import JobWatch, event_of

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

    Restarted anywhere it goes on with the same deadline. An error never escapes: it becomes the event. Killed, it only
    stops looking: Cordial documents no cancel.

    :param cordial_conn_id: the Airflow connection; it is read in the triggerer, and no secret is in the trigger's row.
    :param job_id: the job to wait for.
    :param poll_interval: seconds between two looks.
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
        yield TriggerEvent(event_of(self.job_id, outcome))  # type: ignore[no-untyped-call,unused-ignore]

    async def on_kill(self) -> None:
        """Say that the job goes on; the framework calls this when a person ends the deferred task."""
        self.log.warning("The task was ended, but job %s goes on in Cordial, which has no cancel", self.job_id)

    async def _wait(self) -> Job:
        connection = await read_connection(self.cordial_conn_id)
        watch = JobWatch(self.job_id, grace=connection.not_found_grace, since=time.time(), log=self.log)
        # What may pass is waited out here, by the interval: the client need not try again by itself.
        async with AsyncCordialClient(connection, attempts=1) as client:
            while True:
                # First the interval: the task has just looked, or just submitted. And Airflow fails a task whose
                # trigger fires before the scheduler has heard that the task deferred, which takes some seconds.
                left = self.deadline - time.time()
                await asyncio.sleep(max(0.0, min(watch.pause(self.poll_interval), left)))
                if job := watch.saw(await self._look(client), time.time()):
                    return job
                if time.time() >= self.deadline:
                    raise watch.timed_out()

    async def _look(self, client: AsyncCordialClient) -> Job | CordialError:
        # One look is taken even past the deadline: the job may have ended while no triggerer ran.
        longest = max(self.deadline - time.time(), client.connection.connect_timeout)
        try:
            async with asyncio.timeout(longest):
                return await client.get_job(self.job_id)
        except TimeoutError:
            return ConnectionFailedError(f"GET job {self.job_id}: no answer before the deadline.")
        except CordialError as error:
            return error
