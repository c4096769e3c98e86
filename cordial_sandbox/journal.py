"""Record every request to the API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cordial_sandbox.account_state import Accounts
from cordial_sandbox.call import add_call
from cordial_sandbox.operations import classify_request, find_operation


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

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_and_record)
        finally:
            state = call.state or self._accounts.first
            # A request that began before a reset is not recorded after it.
            if state.store.resets == resets[state.account.name]:
                state.store.add_request(_describe(scope, statuses, call.fault))


def _describe(scope: Scope, statuses: Sequence[int], fault: dict[str, Any] | None) -> dict[str, Any]:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return {
        # The real time, as the intervals between requests are real.
        "time": time.time(),
        "request": classify_request(scope["method"], scope["path"]),
        "operation": find_operation(scope["method"], scope["path"]),
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "status": statuses[0] if statuses else None,
        "fault": fault["effect"] if fault else None,
        "user_agent": headers.get("user-agent"),
        "content_type": headers.get("content-type"),
        "client_port": scope["client"][1] if scope.get("client") else None,
    }
