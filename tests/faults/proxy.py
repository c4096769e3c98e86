"""An HTTP proxy in front of the sandbox that breaks requests and answers, as networks, proxies, and firewalls do."""

from __future__ import annotations

import asyncio
import gzip
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from aiohttp import ClientSession, web

#: Requests by the name that the sandbox's control API gives them.
RequestKind = Literal["create_export", "list_jobs", "get_job", "other"]

_JOB = re.compile(r"/v2/jobs/[^/]+")

#: Seconds between two bytes of a dripping answer.
DRIP_PAUSE = 0.5

HTML = b"<html><body><h1>Request blocked</h1>Contact your administrator.</body></html>"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request.

    :param effect: ``drop`` the connection; ``truncate`` the answer; ``drip`` the answer, a byte each ``DRIP_PAUSE``;
        ``delay`` the answer; ``answer`` with another status and body; ``gzip`` the answer, unasked.
    :param arrives: whether the request reaches Cordial; only ``drop`` and ``answer`` have the choice.
    :param status: of ``answer``.
    :param headers: of ``answer``.
    :param body: of ``answer``.
    :param seconds: of ``delay``.
    """

    effect: Literal["drop", "truncate", "drip", "delay", "answer", "gzip"]
    arrives: bool = False
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = HTML
    seconds: float = 0.0

    def __str__(self) -> str:
        what = f"answer {self.status}" if self.effect == "answer" else self.effect
        return f"{what} after arrival" if self.arrives else what


class FaultProxy:
    """Forwards requests to the sandbox and disrupts some; a context manager with a thread of its own.

    :param upstream: the sandbox's address.
    """

    def __init__(self, upstream: str) -> None:
        self.url = ""
        #: How often which fault happened to which kind of request; the fault ``none`` counts the others.
        self.counts: Counter[tuple[RequestKind, str]] = Counter()
        self._upstream = upstream
        self._choose: Callable[[RequestKind], Fault | None] = lambda _kind: None
        self._loop = asyncio.new_event_loop()
        self._session: ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def disrupt(self, choose: Callable[[RequestKind], Fault | None]) -> None:
        """Set what chooses the fault of each request; it is called in the proxy's thread."""
        self._choose = choose

    def heal(self) -> None:
        """Forward all requests from now on."""
        self._choose = lambda _kind: None

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _start(self) -> str:
        import aiohttp
        from aiohttp import web

        self._session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Slow answers end with the proxy.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        kind = parse_kind(request.method, request.path)
        fault = self._choose(kind)
        self.counts[kind, str(fault or "none")] += 1
        if fault is None:
            status, body = await self._forward(request)
            return web.Response(status=status, body=body, content_type="application/json")
        status, body = 0, b""
        if fault.arrives or fault.effect in ("truncate", "drip", "delay", "gzip"):
            status, body = await self._forward(request)
        match fault.effect:
            case "answer":
                headers = {"Content-Type": "text/html", **fault.headers}
                return web.Response(status=fault.status, body=fault.body, headers=headers)
            case "delay":
                await asyncio.sleep(fault.seconds)
                return web.Response(status=status, body=body, content_type="application/json")
            case "gzip":
                headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
                return web.Response(status=status, body=gzip.compress(body), headers=headers)
            case "drop":
                return _drop(request)
            case "truncate" | "drip":
                return await _send_slowly(request, status, body, is_cut=fault.effect == "truncate")

    async def _forward(self, request: web.Request) -> tuple[int, bytes]:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers["Accept-Encoding"] = "identity"
        body = await request.read()
        url = f"{self._upstream}{request.raw_path}"
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            return answer.status, await answer.read()


_HOP_BY_HOP = ("host", "connection", "content-length", "transfer-encoding", "accept-encoding")


def parse_kind(method: str, path: str) -> RequestKind:
    """Return the kind of a request."""
    if method == "POST" and path.endswith("export"):
        return "create_export"
    if path == "/v2/jobs":
        return "list_jobs"
    return "get_job" if _JOB.fullmatch(path) else "other"


def _drop(request: web.Request) -> web.StreamResponse:
    from aiohttp import web

    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _send_slowly(request: web.Request, status: int, body: bytes, *, is_cut: bool) -> web.StreamResponse:
    """Send half of the answer at once and drop the connection, or all of it byte by byte."""
    from aiohttp import web

    answer = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    answer.content_length = len(body)
    await answer.prepare(request)
    if is_cut:
        await answer.write(body[: len(body) // 2])
        return _drop(request)
    for byte in body:
        await answer.write(bytes([byte]))
        await asyncio.sleep(DRIP_PAUSE)
    return answer
