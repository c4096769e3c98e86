"""When the same request is sent again, and after which pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.exceptions import (
    ConnectionFailedError,
    RateLimitError,
    ServerError,
    UnreadableAnswerError,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState


def is_repeatable(request: api.Request, error: BaseException) -> bool:
    """Return whether the same request may be sent again after this error.

    Cordial has no idempotency key: an export is sent again only if it certainly did not reach Cordial, or was rejected
    for its rate.
    """
    if request.is_export:
        return isinstance(error, RateLimitError) or (isinstance(error, ConnectionFailedError) and not error.sent)
    return isinstance(error, RateLimitError | ServerError | ConnectionFailedError | UnreadableAnswerError)


def retry_options(
    request: api.Request, connection: CordialConnection, warn: Any, *, timeout: float | None = None
) -> dict[str, Any]:
    """Return tenacity's options.

    :param warn: logs a warning.
    :param timeout: seconds for all attempts together.
    """
    from tenacity import retry_if_exception, stop_after_attempt, stop_before_delay, stop_never, wait_random_exponential

    backoff = wait_random_exponential(multiplier=0.5, max=15)

    def requested_wait(state: RetryCallState) -> float | None:
        error = state.outcome.exception() if state.outcome else None
        return error.retry_after if isinstance(error, RateLimitError) else None

    def wait(state: RetryCallState) -> float:
        requested = requested_wait(state)
        # Jitter on top, so that tasks that were rejected together do not come back together.
        return backoff(state) if requested is None else requested + backoff(state)

    def must_wait_too_long(state: RetryCallState) -> bool:
        return (requested_wait(state) or 0) > connection.max_wait

    def log(state: RetryCallState) -> None:
        if state.outcome and state.next_action:
            warn("%s Retrying in %.1f s.", state.outcome.exception(), state.next_action.sleep)

    stop = stop_after_attempt(connection.attempts)
    out_of_time = stop_never if timeout is None else stop_before_delay(timeout)
    return {
        "retry": retry_if_exception(lambda error: is_repeatable(request, error)),
        "stop": lambda state: stop(state) or out_of_time(state) or must_wait_too_long(state),
        "wait": wait,
        "before_sleep": log,
        "reraise": True,
    }
