"""JobTrigger: wait for a job in the triggerer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cordial._compat import DEFERRED_TRY
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import CordialError, InvalidParameterError
from airflow_provider_cordial.jobs.events import build_event
from airflow_provider_cordial.jobs.options import is_moment, validate_duration
from airflow_provider_cordial.jobs.watcher import build_watcher

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Seconds between the trigger's own deadline and Airflow's timeout of the deferral.
BACKSTOP = 300.0


def build_deferral(
    context: Context, cordial_conn_id: str, job_id: str, poll_interval: float, deadline: float
) -> dict[str, Any]:
    """Return the arguments of ``defer`` for a ``JobTrigger``; the task resumes in ``execute_complete``."""
    return {
        "trigger": JobTrigger(cordial_conn_id, job_id, poll_interval, deadline),
        "method_name": "execute_complete",
        "kwargs": {DEFERRED_TRY: getattr(context.get("ti"), "try_number", None)},
        "timeout": timedelta(seconds=deadline - time.time() + BACKSTOP),
    }


class JobTrigger(BaseTrigger):
    """Wait for a job, and fire one event with the outcome.

    All waits on one connection in a triggerer share one poller, one HTTP client, and one rate limit (see
    ``jobs.poller``). A restart does not move the deadline. Every error becomes the event. A killed trigger only stops
    polling: Cordial jobs cannot be cancelled.

    :param cordial_conn_id: the Airflow connection; read in the triggerer, so the stored row contains no secret.
    :param job_id: the job to wait for.
    :param poll_interval: the longest pause between two polls, in seconds.
    :param deadline: seconds since the epoch.
    """

    # An exception here would crash the triggerer, so nothing is validated.
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
        """Wait until the job ends or the deadline passes, and yield the only event."""
        outcome: Job | CordialError
        try:
            outcome = await self._wait()
        except CordialError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - the task must receive any error; its text may contain a secret
            self.log.error("Waiting for job %s failed: %s", self.job_id, type(error).__name__)
            outcome = CordialError(f"Waiting for job {self.job_id} failed in the triggerer: {type(error).__name__}.")
        yield TriggerEvent(build_event(self.job_id, outcome))  # type: ignore[no-untyped-call,unused-ignore]

    async def on_kill(self) -> None:
        """Log that the job continues; Airflow calls this when a user ends the deferred task."""
        self.log.warning("Task killed, but job %s continues: Cordial jobs cannot be cancelled", self.job_id)

    def _validate(self) -> None:
        validate_duration("poll interval", self.poll_interval, example=60)
        # A deadline in the past is valid: the job is polled once more.
        if not is_moment(self.deadline):
            msg = f"Invalid deadline {self.deadline!r}: expected seconds since the epoch. Clear the task to wait again."
            raise InvalidParameterError(msg)

    async def _wait(self) -> Job:
        from airflow_provider_cordial.jobs.pollers import subscribe

        self._validate()
        since = time.time()
        async with subscribe(
            self.cordial_conn_id, self.job_id, poll_interval=self.poll_interval, deadline=self.deadline
        ) as (subscription, connection):
            watcher = build_watcher(self.job_id, connection, since=since, log=self.log)
            while (result := await subscription.next_result()) is not None:
                if job := watcher.observe(result, time.time()):
                    return job
                if time.time() >= self.deadline:
                    break
            raise watcher.timeout_error()
