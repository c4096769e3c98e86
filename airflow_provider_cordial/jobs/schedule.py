"""Schedule: which subscriptions are due when. Pure: the caller passes the time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_cordial.jobs.subscription import Subscription

#: Seconds; the shortest pause between two polls of a job if the poll interval is longer.
SHORTEST_PAUSE = 10.0


def compute_pause(waited: float, poll_interval: float) -> float:
    """Return the seconds until the next poll: short for a young wait, ``poll_interval`` for an old one.

    :param waited: seconds since the wait started.
    """
    return min(poll_interval, max(SHORTEST_PAUSE, waited / 2))


def jitter() -> float:
    """Return a random factor for a pause, so that waits that started together do not keep polling together."""
    return random.uniform(0.9, 1.0)  # noqa: S311 - not a secret


class Schedule:
    """Subscriptions ordered by the moment of their next poll."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Subscription]] = []
        self._count = 0

    @property
    def next_due(self) -> float | None:
        """The earliest moment in the queue, possibly of a closed subscription; None if the queue is empty."""
        return self._queue[0][0] if self._queue else None

    def add(self, subscription: Subscription, due: float) -> bool:
        """Schedule the next poll of a subscription, replacing the previous one; return whether it is the earliest."""
        subscription.due = due
        self._count += 1
        entry = (due, self._count, subscription)
        heapq.heappush(self._queue, entry)
        return self._queue[0] is entry

    def rebuild(self, subscriptions: Iterable[Subscription]) -> None:
        """Schedule exactly these subscriptions; a crashed poller may have taken some without polling them."""
        self._queue = []
        for subscription in subscriptions:
            self.add(subscription, subscription.due)

    def take_due(self, now: float) -> list[str]:
        """Remove the subscriptions that are due, and return their jobs, the most overdue first."""
        due: dict[str, None] = {}
        while self._queue and self._queue[0][0] <= now:
            moment, _, subscription = heapq.heappop(self._queue)
            # Skip entries that were replaced or whose subscription is closed.
            if subscription.is_open and moment == subscription.due:
                due[subscription.job_id] = None
        return list(due)
