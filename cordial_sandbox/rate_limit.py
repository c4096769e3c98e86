"""Rate limits: a number of requests of each kind per period.

Source: Cordial, "API rate limiting": limits differ by HTTP method and endpoint, and a response has the headers when the
limit is exceeded. Cordial does not document the status, the body, or when a period begins. Here, a period begins with
its first request.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cordial_sandbox.call import get_call
from cordial_sandbox.operations import classify_request, find_operation


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of its limit a kind of request has used.

    :param reset: whole seconds until the next period.
    """

    limit: int
    used: int
    reset: int

    @property
    def is_exceeded(self) -> bool:
        return self.used > self.limit

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-Rate-Limit-Limit": str(self.limit),
            "X-Rate-Limit-Remaining": str(max(0, self.limit - self.used)),
            "X-Rate-Limit-Reset": str(self.reset),
        }


class Windows:
    """The current period of each kind of request, in memory only."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, kind: str, limit: int, period: float, now: float) -> Usage:
        """Count one request and return the usage including it."""
        start, used = self._windows.get(kind, (now, 0))
        if now - start >= period:
            start, used = now, 0
        self._windows[kind] = start, used + 1
        return Usage(limit, used + 1, reset=math.ceil(period - (now - start)))

    def clear(self) -> None:
        self._windows.clear()


class RateLimit:
    """Middleware that rejects requests above the limit.

    It runs after authentication, because a limit belongs to an account.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = get_call(scope).account
        behaviour = state.store.behaviour
        if behaviour.rate_limit is None:
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        kind = find_operation(method, path) or classify_request(method, path)
        usage = state.windows.count(kind, behaviour.rate_limit, behaviour.rate_limit_period, time.monotonic())
        if usage.is_exceeded:
            headers = {**usage.headers, "Retry-After": str(usage.reset)}
            rejection = JSONResponse({"error": True, "message": "Too many requests."}, 429, headers)
            await rejection(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and behaviour.rate_limit_headers == "always":
                MutableHeaders(scope=message).update(usage.headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)
