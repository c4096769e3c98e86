"""Bound how long a blocking call may take, whatever it waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def call_within(seconds: float, call: Callable[[], _T]) -> _T:
    """Return the result of a call, made in a thread that is abandoned when the time is up.

    The timeouts of sockets restart with every byte, so a server that drips would hold a task for hours.

    :raises TimeoutError: the time is up.
    """
    outcome: list[tuple[_T | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised in the caller
            outcome.append((None, error))

    # A daemon: an abandoned thread must not keep the task's process alive.
    thread = threading.Thread(target=run, name="cordial-request", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
