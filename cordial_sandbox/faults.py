"""Faults: responses that are wrong, late, truncated, or missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cordial_sandbox.call import get_call
from cordial_sandbox.operations import Operation, classify_request, find_operation

_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
_HeaderValue = Annotated[str, Field(pattern=r"^[\t\x20-\x7e]*$")]


class Fault(BaseModel):
    """One way to misbehave, for one kind of request.

    :param request: an operation; ``create_export`` for the exports of every kind, ``any`` for all requests.
    :param processed: whether the request is processed anyway, so that only its response is affected.
    :param times: number of requests to affect; unlimited by default.
    :param effect: ``answer`` with the given status, headers, and body; ``reset`` the connection; ``truncate`` the
        response and close the connection; ``delay`` the response by ``seconds``.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    request: Operation | Literal["create_export", "any"] = "any"
    effect: Literal["answer", "reset", "truncate", "delay"]
    processed: bool = False
    times: int | None = Field(None, ge=1)
    status: int = Field(500, ge=200, le=599)
    headers: dict[_HeaderName, _HeaderValue] = Field(default_factory=dict)
    body: str = ""
    seconds: float = Field(0.0, ge=0)


class Faults:
    """Middleware that applies the faults of an account; it runs after authentication."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = get_call(scope)
        method, path = scope["method"], scope["path"]
        call.fault = call.account.store.take_fault((classify_request(method, path), find_operation(method, path)))
        if call.fault is None:
            await self._app(scope, receive, send)
        else:
            await self._misbehave(Fault.model_validate(call.fault), scope, receive, send)

    async def _misbehave(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        transport = get_call(scope).transport
        if fault.effect == "delay" and not fault.processed:
            await self._delay(fault.seconds, scope, receive, send)
            return
        messages = await self._respond(fault, scope, receive)
        match fault.effect:
            case "reset":
                transport.abort()
                await _wait_for_disconnect(receive)
            case "truncate":
                await _send_truncated(messages, send)
                transport.close()
                await _wait_for_disconnect(receive)
            case "delay" | "answer":
                await asyncio.sleep(fault.seconds)
                for message in messages:
                    await send(message)

    async def _delay(self, seconds: float, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request after a delay, unless the account was reset meanwhile."""
        store = get_call(scope).account.store
        resets = store.resets
        await asyncio.sleep(seconds)
        if store.resets == resets:
            await self._app(scope, receive, send)
        else:
            get_call(scope).transport.abort()

    async def _respond(self, fault: Fault, scope: Scope, receive: Receive) -> Sequence[Message]:
        """Return the response to send, without sending it; process the request if the fault requires it."""
        if not fault.processed and fault.effect != "truncate":
            await _read_body(receive)
            return _build_response(fault)
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, collect)
        return _build_response(fault) if fault.effect == "answer" else messages


def _build_response(fault: Fault) -> Sequence[Message]:
    body = fault.body.encode()
    headers = {"content-type": "application/json", **{name.lower(): value for name, value in fault.headers.items()}}
    headers["content-length"] = str(len(body))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return [
        {"type": "http.response.start", "status": fault.status, "headers": raw},
        {"type": "http.response.body", "body": body},
    ]


async def _send_truncated(messages: Sequence[Message], send: Send) -> None:
    start, *rest = messages
    body = b"".join(message.get("body", b"") for message in rest)
    await send(start)
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


async def _read_body(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _wait_for_disconnect(receive: Receive) -> None:
    # uvicorn logs an incomplete response as an error of the application unless the client has disconnected.
    while (await receive())["type"] != "http.disconnect":
        pass
