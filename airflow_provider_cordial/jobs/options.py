"""How long to wait for a job and how often to poll it: defaults, checks, and the deadline."""

from __future__ import annotations

import math
import time
from datetime import timedelta

from airflow_provider_cordial._compat import conf
from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.get_provider_info import DEFAULT_POLL_INTERVAL

#: Seconds between the deadline of a wait and the task's ``execution_timeout``.
EXECUTION_TIMEOUT_MARGIN = 10.0


def default_poll_interval() -> float:
    """Return the seconds between two polls that Airflow's configuration sets."""
    return float(conf.getfloat("cordial", "poll_interval", fallback=DEFAULT_POLL_INTERVAL))


def validate_wait_options(*, poll_interval: object, timeout: object) -> None:
    """Check a poll interval and a timeout, both in seconds.

    :raises InvalidParameterError: one of them is not a finite number above 0.
    """
    for name, value in (("poll interval", poll_interval), ("timeout", timeout)):
        if not is_duration(value):
            msg = f"Invalid {name} {value!r}: expected a number of seconds above 0."
            raise InvalidParameterError(msg)


def is_duration(value: object) -> bool:
    """Return whether a value is a finite number of seconds above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def is_moment(value: object) -> bool:
    """Return whether a value is a finite number, as seconds since the epoch are."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def compute_deadline(timeout: float, execution_timeout: timedelta | None) -> float:
    """Return when a wait that starts now ends, as seconds since the epoch.

    :param timeout: seconds.
    :param execution_timeout: of the task. The wait ends a little before it: Airflow's own timeout error contains
        nothing about the job, and Airflow ignores this timeout while a task is deferred.
    """
    seconds = timeout
    if execution_timeout is not None:
        limit = execution_timeout.total_seconds()
        seconds = min(timeout, limit - min(EXECUTION_TIMEOUT_MARGIN, limit / 10))
    return time.time() + seconds
