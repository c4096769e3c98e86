"""How long to wait for a job and how often to poll it: defaults, checks, and the deadline."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TypeGuard

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
    validate_duration("poll interval", poll_interval, example=60)
    validate_duration("timeout", timeout, example=3600)


def validate_duration(name: str, value: object, *, example: int) -> None:
    """Check a number of seconds.

    :param example: a valid value for the message.
    :raises InvalidParameterError: it is not a finite number above 0.
    """
    if not is_duration(value):
        msg = f"Invalid {name} {value!r}: expected a number of seconds above 0. Set it to {example}, for example."
        raise InvalidParameterError(msg)


def is_duration(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number of seconds above 0."""
    return is_moment(value) and value > 0


def is_moment(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number, as seconds since the epoch are."""
    # The comparison also excludes NaN and integers beyond the range of a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


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
