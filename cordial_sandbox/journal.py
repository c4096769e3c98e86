"""Record every request to the API."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cordial_sandbox.account_state import Accounts
from cordial_sandbox.call import add_call
from cordial_sandbox.operations import classify_request, find_operation

#: Characters of a message, and of any other text, that are recorded.
_MAX_MESSAGE = 500
_MAX_TEXT = 2_000


class Journal:
    """Middleware that records requests in the journal of their account.

    A request without a valid key is recorded in the journal of the first account.
    """

    def __init__(self, app: ASGIApp, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = add_call(scope, send)
        resets = {state.account.name: state.store.resets for state in self._accounts.states}
        statuses: list[int] = []
        bodies: list[bytes] = []
        started = time.monotonic()

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            elif 400 <= statuses[0] < 500:
                bodies.append(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_and_record)
        finally:
            state = call.state or self._accounts.first
            # A request that began before a reset is not recorded after it.
            if state.store.resets == resets[state.account.name]:
                described = _describe(scope, statuses, call.fault)
                seconds = round(time.monotonic() - started, 3)
                state.store.add_request({**described, "seconds": seconds, "message": _read_message(b"".join(bodies))})


def _describe(scope: Scope, statuses: Sequence[int], fault: dict[str, Any] | None) -> dict[str, Any]:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return {
        # The real time, as the intervals between requests are real.
        "time": time.time(),
        "request": classify_request(scope["method"], scope["path"]),
        "operation": find_operation(scope["method"], scope["path"]),
        "method": scope["method"],
        "path": scope["path"][:_MAX_TEXT],
        "query": scope["query_string"].decode("latin-1")[:_MAX_TEXT],
        "status": statuses[0] if statuses else None,
        "fault": fault["effect"] if fault else None,
        "user_agent": headers.get("user-agent", "")[:_MAX_TEXT] or None,
        "content_type": headers.get("content-type", "")[:_MAX_TEXT] or None,
        "client_port": scope["client"][1] if scope.get("client") else None,
    }


def _read_message(body: bytes) -> str | None:
    """Return the message of a rejection, or None if the body has none."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return message[:_MAX_MESSAGE] if isinstance(message, str) else None
