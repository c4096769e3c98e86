"""RateLimiter: when the next request to an account may be sent. Pure: the caller passes the time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus

from airflow_provider_cordial.client.retry_after import parse_retry_after, parse_seconds

#: The period of a limit in seconds, "typically one minute". Source: Cordial, "API rate limiting".
PERIOD = 60.0

#: The share of a limit that is used: tasks on workers and other triggerers send requests too.
SHARE = 0.9

#: The increase of the rate after a period without a rejection.
RECOVERY = 1.05

#: Requests per period; below this, waits would never end, whatever Cordial's answers suggest.
SLOWEST_RATE = 6.0

#: Requests per period; a client that sent fewer and is rejected learns little: others used up the limit.
FEW_REQUESTS = 30

_RESET = "X-Rate-Limit-Reset"

#: Seconds of pause after the first and after many failures in a row.
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class RateLimiter:
    """The rate of all requests of one account; moments are seconds of any one clock.

    Requests are evenly spaced. A rejection (429) pauses all of them for as long as Cordial asks, and lowers the rate
    below the one that was too high; the rate then recovers step by step. If answers report how many requests of a limit
    are left, the rate falls before the limit is reached. Limits are not published and differ by method and endpoint, so
    nothing is assumed about them.

    :param max_rate: the maximum number of requests per minute.
    :param max_wait: seconds; the longest pause that an answer can cause.
    """

    def __init__(self, max_rate: float, max_wait: float = float("inf")) -> None:
        self._max_wait = max_wait
        self._configured_rate = max_rate
        #: What an answer reported, if any did.
        self._reported_rate = float("inf")
        self._rate = max_rate
        self._changed_at = float("-inf")
        self._paused_until = float("-inf")
        self._last_sent = float("-inf")
        self._sent: deque[float] = deque()
        self._failures = 0

    @property
    def rate(self) -> float:
        """The current rate in requests per minute."""
        return self._rate

    @property
    def _max_rate(self) -> float:
        return min(self._configured_rate, self._reported_rate)

    def configure(self, max_rate: float, max_wait: float) -> None:
        """Apply other settings; a pause, and what answers have taught about the limit, remain."""
        # A rate that a rejection has lowered recovers step by step.
        is_lowered = self._rate < self._max_rate
        self._configured_rate, self._max_wait = max_rate, max_wait
        self._rate = min(self._rate, self._max_rate) if is_lowered else self._max_rate

    def delay(self, now: float) -> float:
        """Return the seconds during which nothing may be sent."""
        return max(self.pause_left(now), self._last_sent + PERIOD / self._rate - now)

    def pause_left(self, now: float) -> float:
        """Return the seconds of the pause that an answer asked for."""
        return max(0.0, self._paused_until - now)

    def record_sent(self, now: float) -> None:
        """Count a request."""
        self._last_sent = now
        self._sent.append(now)
        self._forget_old(now)
        if now - self._changed_at >= PERIOD:
            self._changed_at = now
            self._rate = min(self._max_rate, self._rate * RECOVERY)

    def observe_answer(self, status: int, headers: Mapping[str, str], now: float) -> None:
        """Learn from an answer of any kind."""
        limit = _number(headers, "X-Rate-Limit-Limit")
        if limit is not None:
            self._reported_rate = max(SLOWEST_RATE, limit * SHARE)
            self._rate = min(self._rate, self._max_rate)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._observe_rejection(parse_retry_after(headers), now)
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.observe_failure(now)
        else:
            self._failures = 0
            self._spread(limit, headers, now)

    def observe_failure(self, now: float) -> None:
        """Pause after an error that does not concern a single request, longer each time; ignore the first."""
        if self.pause_left(now) > 0:
            # The request was in flight together with the one that caused the pause, and failed together with it.
            return
        self._failures += 1
        if self._failures > 1:
            self._pause(min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** (self._failures - 2)), now)

    def _observe_rejection(self, requested: float | None, now: float) -> None:
        # Requests that were in flight together and are rejected together count as one rejection.
        if now >= self._paused_until:
            self._failures += 1
            self._forget_old(now)
            self._rate = max(SLOWEST_RATE, SHARE * min(self._rate, max(FEW_REQUESTS, len(self._sent))))
            self._changed_at = now
        pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0**self._failures) if requested is None else requested
        # Jitter, so that triggerers that were rejected together do not come back together.
        self._pause(min(pause, self._max_wait) + random.uniform(0, 1), now)  # noqa: S311 - not a secret

    def _spread(self, limit: float | None, headers: Mapping[str, str], now: float) -> None:
        """Spread the rest of a limit over the time until its reset, once little is left."""
        left, seconds = _number(headers, "X-Rate-Limit-Remaining"), parse_seconds(headers.get(_RESET, ""))
        if left is None or seconds is None:
            return
        if left <= (limit or 0) * (1 - SHARE) + 1:
            self._pause(min(seconds if left < 1 else seconds / left, self._max_wait), now)

    def _pause(self, seconds: float, now: float) -> None:
        self._paused_until = max(self._paused_until, now + seconds)

    def _forget_old(self, now: float) -> None:
        while self._sent and self._sent[0] < now - PERIOD:
            self._sent.popleft()


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        number = float(headers[name])
    except (KeyError, ValueError):
        return None
    return number if 0 <= number < float("inf") else None
