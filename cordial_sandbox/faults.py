"""Faults: answers that are wrong, late, cut short, or never come."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cordial_sandbox.store import Store, now

_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
_HeaderValue = Annotated[str, Field(pattern=r"^[\t\x20-\x7e]*$")]


class Fault(BaseModel):
    """One way to misbehave, for some requests.

    :param processed: whether the request is carried out all the same, and only its answer suffers.
    :param times: how often; for ever by default.
    :param effect: ``answer`` with status, headers and body of one's own; ``reset`` the connection; ``truncate`` the
        answer, and close; ``delay`` for some seconds.
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
    """Around the API: takes note of each request, and lets its faults happen."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = self._store.take_fault(kind_of(scope))
        statuses: list[int] = []
        resets = self._store.resets

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            if taken is None:
                await self._app(scope, receive, noting)
            else:
                await self._misbehave(Fault.model_validate(taken), scope, receive, noting, send)
        finally:
            # One that began before a reset belongs to what was forgotten.
            if self._store.resets == resets:
                self._note(scope, statuses, taken)

    async def _misbehave(self, fault: Fault, scope: Scope, receive: Receive, noting: Send, send: Send) -> None:
        if fault.effect == "delay" and not fault.processed:
            resets = self._store.resets
            await asyncio.sleep(fault.seconds)
            if self._store.resets == resets:
                await self._app(scope, receive, noting)
            else:
                _transport(send).abort()
            return
        answer = _answer(fault)
        if fault.processed or fault.effect == "truncate":
            real: list[Message] = []

            async def keep(message: Message) -> None:
                real.append(message)

            await self._app(scope, receive, keep)
            if fault.effect != "answer":
                answer = real
        else:
            await _read_to_the_end(receive)
        match fault.effect:
            case "reset":
                _transport(send).abort()
                await _read_until_gone(receive)
            case "truncate":
                start, *rest = answer
                body = b"".join(message.get("body", b"") for message in rest)
                await noting(start)
                await noting({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
                _transport(send).close()
                await _read_until_gone(receive)
            case "delay" | "answer":
                await asyncio.sleep(fault.seconds)
                for message in answer:
                    await noting(message)

    def _note(self, scope: Scope, statuses: list[int], fault: dict[str, Any] | None) -> None:
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._store.add_request(
            {
                "time": now().timestamp(),
                "request": kind_of(scope),
                "method": scope["method"],
                "path": scope["path"],
                "query": scope["query_string"].decode("latin-1"),
                "status": statuses[0] if statuses else None,
                "fault": fault["effect"] if fault else None,
                "user_agent": headers.get("user-agent"),
                "content_type": headers.get("content-type"),
                "client_port": scope["client"][1] if scope.get("client") else None,
            }
        )


def kind_of(scope: Scope) -> str:
    """Return which kind of request to the API one is."""
    if scope["method"] == "POST":
        return "create_export"
    return "list_jobs" if scope["path"].rstrip("/") == "/v2/jobs" else "get_job"


def _answer(fault: Fault) -> list[Message]:
    body = fault.body.encode()
    headers = {"content-type": "application/json", **{name.lower(): value for name, value in fault.headers.items()}}
    headers["content-length"] = str(len(body))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return [
        {"type": "http.response.start", "status": fault.status, "headers": raw},
        {"type": "http.response.body", "body": body},
    ]


async def _read_to_the_end(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _read_until_gone(receive: Receive) -> None:
    # The server takes an answer that stops short for an error of the application, unless it knows the client gone.
    while (await receive())["type"] != "http.disconnect":
        pass


def _transport(send: Send) -> asyncio.Transport:
    """Return the connection that an answer goes out on.

    ASGI knows of none: this is where uvicorn, which the sandbox always runs in, keeps it.
    """
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    return transport
