"""CordialRetryPolicy: retry what a retry can help, as soon as it can; Airflow 3.3 or later."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy

from airflow_provider_cordial.exceptions import CordialError, RateLimitError

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Seconds; a longer ``Retry-After`` is cut.
LONGEST_DELAY = 3600.0


class CordialRetryPolicy(RetryPolicy):
    """Decide by the class of a ``CordialError`` whether to retry a task; other errors keep Airflow's behavior.

    An error that a retry cannot help fails the task at once. After a 429 the retry waits as long as Cordial asked for.
    Everything else is retried after the task's ``retry_delay``, up to its ``retries``.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Return what becomes of a task that failed."""
        if not isinstance(exception, CordialError):
            return RetryDecision.default()
        reason = str(exception).splitlines()[0]
        if not exception.retry_helps:
            return RetryDecision.fail(reason)
        if isinstance(exception, RateLimitError) and exception.retry_after:
            return RetryDecision.retry(timedelta(seconds=min(exception.retry_after, LONGEST_DELAY)), reason)
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CordialRetryPolicy:  # noqa: ARG003
        return cls()
