"""RateLimiter: when the next request to an account may be sent."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus

from airflow_provider_cordial.client import api

#: The period of a limit in seconds, "typically one minute". Source: Cordial, "API rate limiting".
PERIOD = 60.0

#: How much of a limit is used: tasks on workers and other triggerers send requests too.
SHARE = 0.9

#: How much faster than before after a period without being turned away.
RECOVERY = 1.05

#: Requests in a period; below this waiting would take for ever, whatever Cordial's answers seem to say.
SLOWEST = 6.0

#: Requests in a period; who sent fewer and is turned away learns little from it: others used the limit up.
FEW = 30

#: Seconds of rest after the first and after many failures in a row.
SHORTEST_REST, LONGEST_REST = 1.0, 60.0


class RateLimiter:
    """The pace of all requests of one account; pure: it is told the time, in seconds of any one clock.

    Requests are sent evenly. Being turned away (429) lets all of them rest for as long as Cordial asks, and teaches a
    pace below the one that was too fast; it grows again little by little. Where answers tell how many requests are left
    of a limit, the pace falls before the limit is hit. Limits are not published and differ by method and endpoint, so
    nothing is assumed of them.

    :param per_minute: how many requests are sent in a minute at most.
    """

    def __init__(self, per_minute: float) -> None:
        self._wanted = per_minute
        self._most = per_minute
        self._pace = per_minute
        self._changed_at = float("-inf")
        self._ready = float("-inf")
        self._last = float("-inf")
        self._sent: deque[float] = deque()
        self._failures = 0

    @property
    def per_minute(self) -> float:
        """The pace as it is now."""
        return self._pace

    def wait(self, now: float) -> float:
        """Return for how many seconds nothing may be sent."""
        return max(0.0, self._ready - now, self._last + PERIOD / self._pace - now)

    def sent(self, now: float) -> None:
        """Take note that a request is on its way."""
        self._last = now
        self._sent.append(now)
        self._forget(now)
        if now - self._changed_at >= PERIOD:
            self._changed_at = now
            self._pace = min(self._most, self._pace * RECOVERY)

    def answered(self, status: int, headers: Mapping[str, str], now: float) -> None:
        """Learn from an answer, whatever it was."""
        limit = _number(headers, "X-Rate-Limit-Limit")
        if limit is not None:
            self._most = min(self._wanted, max(SLOWEST, limit * SHARE))
            self._pace = min(self._pace, self._most)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._turned_away(api.retry_after(headers), now)
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.failed(now)
        else:
            self._failures = 0
            self._spread(limit, headers, now)

    def failed(self, now: float) -> None:
        """Rest a little after an error that is not about this one request, longer each time; the first is forgiven."""
        self._failures += 1
        if self._failures > 1:
            self._rest(now + min(LONGEST_REST, SHORTEST_REST * 2.0 ** (self._failures - 2)))

    def _turned_away(self, asked: float | None, now: float) -> None:
        self._failures += 1
        # Those that were on their way together and are turned away together are one lesson.
        if now >= self._ready:
            self._forget(now)
            self._pace = max(SLOWEST, SHARE * min(self._pace, max(FEW, len(self._sent))))
            self._changed_at = now
        rest = min(LONGEST_REST, SHORTEST_REST * 2.0**self._failures) if asked is None else asked
        # Jitter, so that triggerers that were turned away together do not come back together.
        self._rest(now + rest + random.uniform(0, 1))  # noqa: S311 - no secret

    def _spread(self, limit: float | None, headers: Mapping[str, str], now: float) -> None:
        """Let what is left of a limit last until it is reset, once little is left."""
        left, seconds = _number(headers, "X-Rate-Limit-Remaining"), _number(headers, "X-Rate-Limit-Reset")
        if left is None or seconds is None:
            return
        if left <= (limit or 0) * (1 - SHARE) + 1:
            self._rest(now + (seconds if left < 1 else seconds / left))

    def _rest(self, until: float) -> None:
        self._ready = max(self._ready, until)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] < now - PERIOD:
            self._sent.popleft()


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        number = float(headers[name])
    except (KeyError, ValueError):
        return None
    return number if 0 <= number < float("inf") else None
