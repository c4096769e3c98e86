"""The clock of the sandbox, which can be set, moved, and stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(slots=True)
class Clock:
    """The time of jobs, snapshots, and retention; durations, such as ``job_seconds``, remain real seconds.

    :param save: stores the clock's state whenever it changes.
    :param offset: seconds by which it is ahead of the real time.
    :param stopped_at: timestamp at which it stands still, or None.
    """

    save: Callable[[Mapping[str, Any]], None]
    offset: float = 0.0
    stopped_at: float | None = None

    def now(self) -> float:
        return time.time() + self.offset if self.stopped_at is None else self.stopped_at

    def change(self, *, now: float | None = None, move: float = 0.0, stopped: bool | None = None) -> None:
        """Set the clock, then move it, then stop or start it.

        :param now: timestamp.
        :param move: seconds, also negative.
        :raises ValueError: the time would not be in the years 1970 to 9998.
        """
        moment = check_moment((self.now() if now is None else now) + move)
        if stopped is None:
            stopped = self.stopped_at is not None
        is_set = now is not None or self.stopped_at is not None
        offset = moment - time.time() if is_set else self.offset + move
        self.restore(offset, moment if stopped else None)

    def restore(self, offset: float, stopped_at: float | None) -> None:
        """Return to a state of it."""
        self.offset, self.stopped_at = offset, stopped_at
        self.save({"offset": offset, "stopped_at": stopped_at})

    def reset(self) -> None:
        """Return to the real time."""
        if self.offset or self.stopped_at is not None:
            self.restore(0.0, None)

    def describe(self) -> dict[str, Any]:
        return {
            "now": datetime.fromtimestamp(self.now(), UTC).isoformat(),
            "stopped": self.stopped_at is not None,
            "is_real": not self.offset and self.stopped_at is None,
        }


def check_moment(moment: float) -> float:
    """Return a timestamp that the sandbox can work with.

    :raises ValueError: it is not in the years 1970 to 9998.
    """
    if not 0 <= moment < _END:
        msg = "Invalid time of the clock: expected one in the years 1970 to 9998."
        raise ValueError(msg)
    return moment


_END = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
