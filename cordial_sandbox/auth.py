"""HTTP Basic authentication with the API key as the user name and a blank password.

Source: Cordial, "RESTful API summary and usage".
"""

from __future__ import annotations

import base64
import binascii
import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def is_authorized(header: str | None, api_key: str) -> bool:
    """Return whether an ``Authorization`` header carries the API key and a blank password."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{api_key}:".encode())


class Authentication:
    """Middleware that rejects requests without the API key."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._api_key = api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if not is_authorized(Headers(scope=scope).get("authorization"), self._api_key):
            app = JSONResponse({"error": "Access Denied: Authentication Failure"}, 401)
        await app(scope, receive, send)
