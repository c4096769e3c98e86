"""HTTP Basic authentication with an API key as the user name and a blank password.

Source: Cordial, "RESTful API summary and usage", and "API keys" for what a key may call, and from where.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cordial_sandbox.access import read_credentials
from cordial_sandbox.account_state import Accounts
from cordial_sandbox.call import get_call
from cordial_sandbox.operations import find_operation


class Authentication:
    """Middleware that finds the account of a request's API key, and rejects what the key does not permit."""

    def __init__(self, app: ASGIApp, accounts: Accounts) -> None:
        self._app = app
        self._keys = {f"{key}:".encode(): pair for key, pair in accounts.by_key().items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = read_credentials(Headers(scope=scope).get("authorization"))
        # Every key is compared, so that the time reveals nothing.
        found = [pair for key, pair in self._keys.items() if hmac.compare_digest(given, key)]
        app = self._app
        if not found:
            app = JSONResponse({"error": "Access Denied: Authentication Failure"}, 401)
        else:
            state, key = found[0]
            get_call(scope).state = state
            # Cordial documents neither the status nor the body of these answers.
            if not key.permits_address(scope["client"][0]):
                app = JSONResponse({"error": "Access Denied: the key does not allow this address"}, 403)
            elif not key.permits_operation(find_operation(scope["method"], scope["path"])):
                app = JSONResponse({"error": "Access Denied: the key does not allow this operation"}, 403)
        await app(scope, receive, send)
