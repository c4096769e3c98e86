"""How requests are sent, whatever client sends them: what is told of us, and when the same request is sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cordial import __version__
from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.exceptions import ConnectionFailedError, RateLimitError

if TYPE_CHECKING:
    from tenacity import RetryCallState

HEADERS = {"Accept": "application/json", "User-Agent": f"airflow-provider-cordial/{__version__}"}


def retry_options(request: api.Request, connection: CordialConnection, warn: Any) -> dict[str, Any]:
    """Return tenacity's options."""
    from tenacity import retry_if_exception, stop_after_attempt, wait_random_exponential

    backoff = wait_random_exponential(multiplier=0.5, max=15)

    def asked_to_wait(state: RetryCallState) -> float | None:
        error = state.outcome.exception() if state.outcome else None
        return error.retry_after if isinstance(error, RateLimitError) else None

    def wait(state: RetryCallState) -> float:
        asked = asked_to_wait(state)
        # Jitter on top, so that tasks that were turned away together do not come back together.
        return backoff(state) if asked is None else asked + backoff(state)

    def told_to_wait_too_long(state: RetryCallState) -> bool:
        return (asked_to_wait(state) or 0) > connection.max_wait

    def log(state: RetryCallState) -> None:
        if state.outcome and state.next_action:
            warn("%s Sending it again in %.1f s.", state.outcome.exception(), state.next_action.sleep)

    stop = stop_after_attempt(connection.attempts)
    return {
        "retry": retry_if_exception(lambda error: api.may_send_again(request, error)),
        "stop": lambda state: stop(state) or told_to_wait_too_long(state),
        "wait": wait,
        "before_sleep": log,
        "reraise": True,
    }


def connection_failed(
    request: api.Request, connection: CordialConnection, error: Exception, *, sent: bool
) -> ConnectionFailedError:
    # Only the kind of the error is told: its text may repeat the whole address, or a proxy's with its password.
    kind = type(error).__name__
    advice = (
        f"Whether it reached {connection.base_url} is not known."
        if sent
        else f"It did not reach {connection.base_url}. Check the connection's host, the network and the proxy."
    )
    return ConnectionFailedError(f"{request}: no answer ({kind}). {advice}", sent=sent)
