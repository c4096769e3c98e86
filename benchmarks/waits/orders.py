"""The task of a child process."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds between two samples of the loop's lag: each wakes the process and so costs CPU, as much as a wait in a
#: minute; but the 99th percentile needs a thousand of them.
TICK = 0.05


@dataclass(frozen=True)
class Orders:
    """The task of a child process.

    :param way: of ``triggers.WAYS``.
    :param seconds: for how long it runs at least.
    :param longest: for how long it waits for events at most.
    """

    way: str
    poll_interval: float
    seconds: float
    longest: float
