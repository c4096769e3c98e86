"""What a child process runs."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds between two samples of the loop's lag. A sample costs as much CPU as a wait does in a minute, but the 99th
#: percentile needs a thousand samples.
TICK = 0.05


@dataclass(frozen=True)
class Plan:
    """What a child process runs.

    :param kind: the key of ``triggers.FACTORIES``.
    :param seconds: the minimum duration.
    :param timeout: the maximum duration, in seconds; it is used if events are missing.
    """

    kind: str
    poll_interval: float
    seconds: float
    timeout: float
