"""SameOrigin: keep other web pages in the user's browser away from what requires no key."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class SameOrigin:
    """Answer 403 unless the request names this machine as its host, and comes from no other page.

    A page whose name was rebound to loopback sends its own name as ``Host``; any other page sends its ``Origin``.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self._prefix):
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            if not _is_loopback(f"//{host}") or (origin is not None and urlsplit(origin).netloc != host):
                message = "Requests are accepted from this machine only, and from no other web page."
                await JSONResponse({"error": message, "detail": message}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_loopback(url: str) -> bool:
    try:
        hostname = urlsplit(url).hostname or ""
        return hostname == "localhost" or ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
