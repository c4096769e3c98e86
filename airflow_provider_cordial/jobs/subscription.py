"""Subscription: one waiter for a job, and its next result."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import CordialError
from airflow_provider_cordial.jobs.schedule import compute_pause, jitter

#: Seconds after which a job is looked up even if the list contains it, give or take half.
RESYNC_INTERVAL = 3600.0

#: Seconds after the deadline in which the final poll may still return a result.
FINAL_POLL_GRACE = 15.0


class Subscription:
    """One waiter for a job; moments are those of the event loop's clock.

    :param poll_interval: seconds.
    :param deadline: the moment at which the job is polled for the last time.
    """

    __slots__ = (
        "_published",
        "_result",
        "deadline",
        "due",
        "first_poll",
        "is_open",
        "job_id",
        "list_trusted_until",
        "poll_interval",
        "started",
        "status",
    )

    def __init__(self, job_id: str, poll_interval: float, deadline: float, now: float) -> None:
        self.job_id = job_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.started = now
        # Nothing is published earlier: the task has just polled or submitted the job. Besides, Airflow fails a task
        # whose trigger fires before the scheduler has recorded the deferral, which takes some seconds.
        self.first_poll = max(now, min(now + compute_pause(0, poll_interval) * jitter(), deadline))
        self.due = self.first_poll
        self.is_open = True
        #: The status that was published last; empty after an error.
        self.status = ""
        self._result: Job | CordialError | None = None
        self._published: asyncio.Future[None] | None = None
        self.trust_list(now)

    @property
    def ends_at(self) -> float:
        """The moment after which no result is expected."""
        return max(self.deadline, self.first_poll) + FINAL_POLL_GRACE

    def trust_list(self, now: float) -> None:
        """Trust the list for a while from now on, but not beyond the deadline."""
        self.list_trusted_until = min(now + RESYNC_INTERVAL * random.uniform(0.5, 1.5), self.deadline)  # noqa: S311

    def publish(self, result: Job | CordialError) -> None:
        """Set the next result; it replaces one that the waiter has not taken yet."""
        self._result = result
        if self._published and not self._published.done():
            self._published.set_result(None)

    async def next_result(self) -> Job | CordialError | None:
        """Return the next result, or None if none arrives in time.

        A result that arrives in the same turn of the event loop as the timeout is returned.
        """
        if self._result is None:
            self._published = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self.ends_at):
                    await self._published
        result, self._result = self._result, None
        return result
