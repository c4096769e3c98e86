"""Rate limits: so many requests of each kind in a period, and the rest is refused.

Source: Cordial, "API rate limiting": a limit differs by HTTP method and endpoint, and its headers come when it is hit.
Not documented: the status, the body, and how a period is counted; here from the first request in it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cordial_sandbox.faults import kind_of
from cordial_sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Standing:
    """How a kind of request stands to its limit.

    :param reset: seconds until the next period, in whole ones.
    """

    limit: int
    taken: int
    reset: int

    @property
    def is_exceeded(self) -> bool:
        return self.taken > self.limit

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-Rate-Limit-Limit": str(self.limit),
            "X-Rate-Limit-Remaining": str(max(0, self.limit - self.taken)),
            "X-Rate-Limit-Reset": str(self.reset),
        }


class Windows:
    """The current period of each kind of request; in memory only."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, kind: str, limit: int, period: float, moment: float) -> Standing:
        """Count one more request, at some moment."""
        began, taken = self._windows.get(kind, (moment, 0))
        if moment - began >= period:
            began, taken = moment, 0
        self._windows[kind] = began, taken + 1
        return Standing(limit, taken + 1, reset=math.ceil(period - (moment - began)))

    def clear(self) -> None:
        self._windows.clear()


class RateLimit:
    """Around the API, behind its key: a limit is an account's."""

    def __init__(self, app: ASGIApp, store: Store, windows: Windows) -> None:
        self._app = app
        self._store = store
        self._windows = windows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        behaviour = self._store.behaviour
        if behaviour.rate_limit is None:
            await self._app(scope, receive, send)
            return
        standing = self._windows.take(
            kind_of(scope), behaviour.rate_limit, behaviour.rate_limit_period, time.monotonic()
        )
        if standing.is_exceeded:
            headers = {**standing.headers, "Retry-After": str(standing.reset)}
            refusal = JSONResponse({"error": True, "message": "Too many requests."}, 429, headers)
            await refusal(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start" and behaviour.rate_limit_headers == "always":
                MutableHeaders(scope=message).update(standing.headers)
            await send(message)

        await self._app(scope, receive, telling)
