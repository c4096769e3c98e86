"""Keep other web pages, and other machines, away from what requires no API key."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is of this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_credentials(header: str | None) -> bytes:
    """Return the user name and the password of an ``Authorization`` header; nothing if it is not of that kind."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""


class SameOrigin:
    """Middleware that answers 403 unless a request names the sandbox as its host, and comes from no other page.

    A page sends its own origin as ``Origin``, and a page whose name was rebound to this machine sends that name as
    ``Host``. Such a name has a dot, so an address or a name without a dot is accepted.

    :param hosts: other names that clients may use for the sandbox.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            if not self._is_own(host) or (origin is not None and urlsplit(origin).netloc != host):
                message = "The request comes from another web page, or names a host that --allow-host does not permit."
                await JSONResponse({"error": True, "message": message}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return bool(name) and ("." not in name or name in self._hosts or bool(ipaddress.ip_address(name)))
        except ValueError:
            return False


class TokenAuthentication:
    """Middleware that answers 401 unless a request has the token, as a bearer token or as a Basic password.

    A browser asks a person for the password.

    :param public: paths that need no token.
    """

    def __init__(self, app: ASGIApp, token: str, public: Collection[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._public:
            given = _read_token(Headers(scope=scope).get("authorization", ""))
            if not hmac.compare_digest(given, self._token):
                message = "Give the control token of the sandbox as a bearer token, or as a password."
                refusal = JSONResponse(
                    {"error": True, "message": message}, 401, {"WWW-Authenticate": 'Basic realm="Cordial sandbox"'}
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _read_token(header: str) -> bytes:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1")
    return read_credentials(header).partition(b":")[2]
