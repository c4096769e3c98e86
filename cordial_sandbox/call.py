"""What the layers of the API know about one request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.types import Scope, Send

if TYPE_CHECKING:
    from cordial_sandbox.account_state import AccountState


@dataclass(slots=True)
class Call:
    """A request to the API.

    :param transport: its connection.
    :param state: the account of its key, once that is known.
    :param fault: the fault that was applied to it.
    """

    transport: asyncio.Transport
    state: AccountState | None = None
    fault: dict[str, Any] | None = None

    @property
    def account(self) -> AccountState:
        if self.state is None:
            msg = "The request was not authenticated."
            raise RuntimeError(msg)
        return self.state


def get_call(scope: Scope) -> Call:
    call: Call = scope["cordial_sandbox"]
    return call


def add_call(scope: Scope, send: Send) -> Call:
    call = Call(_get_transport(send))
    scope["cordial_sandbox"] = call
    return call


def _get_transport(send: Send) -> asyncio.Transport:
    """Return the connection of a response.

    ASGI does not expose it. This is where uvicorn, the only server of the sandbox, keeps it.
    """
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    return transport
