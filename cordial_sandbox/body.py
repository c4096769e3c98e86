"""Read the body of a request within bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cordial_sandbox.validation import ApiError, parse_form, parse_json

#: Bytes; not documented.
MAX_BODY = 1_000_000

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"


class BodyLimit:
    """Middleware that refuses a body that is too large before it has been received.

    :param larger: the bound of paths that permit larger bodies.
    """

    def __init__(self, app: ASGIApp, larger: Mapping[str, int] = MappingProxyType({})) -> None:
        self._app = app
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], MAX_BODY)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            await _refuse(send, limit)
            return
        received = 0

        async def receive_within_bounds() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, _describe(limit), {"Connection": "close"})
            return message

        try:
            await self._app(scope, receive_within_bounds, send)
        except ClientDisconnect:
            return
        except HTTPException:
            # The application answers it unless the body was read outside of it.
            await _refuse(send, limit)


async def read_body(request: Request) -> Any:
    """Return the JSON of a request, or the members of a form.

    :raises ApiError: the media type is not supported, or the body is neither.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (_JSON, _FORM):
        msg = f"Unsupported Media Type: Content-Type header must be {_JSON} or {_FORM}."
        raise ApiError(415, msg, "UNSUPPORTED_MEDIA_TYPE")
    content = await request.body()
    return parse_json(content) if media_type == _JSON else parse_form(content)


async def check_body(request: Request) -> None:
    """Check that a body, if there is one, is JSON that can be stored and repeated.

    :raises ApiError: it is not.
    """
    if content := await request.body():
        parse_json(content)


def _describe(limit: int) -> str:
    return f"The body has more than {limit} bytes."


async def _refuse(send: Send, limit: int) -> None:
    body = json.dumps({"error": True, "message": _describe(limit)}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
