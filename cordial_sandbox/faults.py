"""Faults: responses that are wrong, late, truncated, or missing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cordial_sandbox.store import Store

_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
_HeaderValue = Annotated[str, Field(pattern=r"^[\t\x20-\x7e]*$")]

_MAX_MESSAGE = 500


class Fault(BaseModel):
    """One way to misbehave, for one kind of request.

    :param processed: whether the request is processed anyway, so that only its response is affected.
    :param times: number of requests to affect; unlimited by default.
    :param effect: ``answer`` with the given status, headers, and body; ``reset`` the connection; ``truncate`` the
        response and close the connection; ``delay`` the response by ``seconds``.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    request: Literal["create_export", "list_jobs", "get_job", "any"] = "any"
    effect: Literal["answer", "reset", "truncate", "delay"]
    processed: bool = False
    times: int | None = Field(None, ge=1)
    status: int = Field(500, ge=200, le=599)
    headers: dict[_HeaderName, _HeaderValue] = Field(default_factory=dict)
    body: str = ""
    seconds: float = Field(0.0, ge=0)


class Faults:
    """Middleware that applies faults and records every request."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = self._store.take_fault(classify_request(scope))
        statuses: list[int] = []
        bodies: list[bytes] = []
        resets, started = self._store.resets, time.monotonic()

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            elif 400 <= statuses[0] < 500:
                bodies.append(message.get("body", b""))
            await send(message)

        try:
            if taken is None:
                await self._app(scope, receive, send_and_record)
            else:
                transport = _get_transport(send)
                await self._misbehave(Fault.model_validate(taken), scope, receive, send_and_record, transport)
        finally:
            # A request that began before a reset is not recorded after it.
            if self._store.resets == resets:
                described = _describe_request(scope, statuses, taken)
                seconds = round(time.monotonic() - started, 3)
                self._store.add_request({**described, "seconds": seconds, "message": _read_message(b"".join(bodies))})

    async def _misbehave(
        self, fault: Fault, scope: Scope, receive: Receive, send: Send, transport: asyncio.Transport
    ) -> None:
        if fault.effect == "delay" and not fault.processed:
            await self._delay(fault.seconds, scope, receive, send, transport)
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

    async def _delay(
        self, seconds: float, scope: Scope, receive: Receive, send: Send, transport: asyncio.Transport
    ) -> None:
        """Process a request after a delay, unless the sandbox was reset meanwhile."""
        resets = self._store.resets
        await asyncio.sleep(seconds)
        if self._store.resets == resets:
            await self._app(scope, receive, send)
        else:
            transport.abort()

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


def classify_request(scope: Scope) -> str:
    """Return the kind of an API request, as ``Fault.request`` names it."""
    if scope["method"] == "POST":
        return "create_export"
    return "list_jobs" if scope["path"].rstrip("/") == "/v2/jobs" else "get_job"


def _describe_request(scope: Scope, statuses: Sequence[int], fault: dict[str, Any] | None) -> dict[str, Any]:
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return {
        "time": time.time(),
        "request": classify_request(scope),
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "status": statuses[0] if statuses else None,
        "fault": fault["effect"] if fault else None,
        "user_agent": headers.get("user-agent"),
        "content_type": headers.get("content-type"),
        "client_port": scope["client"][1] if scope.get("client") else None,
    }


def _read_message(body: bytes) -> str | None:
    """Return the message of a rejection, or None if the body has none."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return message[:_MAX_MESSAGE] if isinstance(message, str) else None


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


def _get_transport(send: Send) -> asyncio.Transport:
    """Return the connection of a response.

    ASGI does not expose it. This is where uvicorn, the only server of the sandbox, keeps it.
    """
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    return transport
