"""AsyncCordialClient: the reading half of the API for an event loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.rate_limiter import RateLimiter
from airflow_provider_cordial.exceptions import NotFoundError

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    import aiohttp

    from airflow_provider_cordial.client.job import Job


#: Seconds for a whole answer: a silent or dripping one must not occupy the poller for long, which polls again anyway.
STATUS_TIMEOUT = 15.0


class Pacer:
    """Spaces the requests of one account.

    Each endpoint has a limiter of its own, because Cordial's limits differ by endpoint; a pause that an answer asks for
    applies to all of them.

    :param max_rate: the maximum number of requests per minute, over all endpoints.
    :param max_wait: seconds; the longest pause.
    """

    def __init__(self, max_rate: float, max_wait: float) -> None:
        self._settings = max_rate, max_wait
        self._all = RateLimiter(max_rate, max_wait)
        self._limiters: defaultdict[str, RateLimiter] = defaultdict(lambda: RateLimiter(*self._settings))
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def configure(self, max_rate: float, max_wait: float) -> None:
        """Apply the settings of a connection that was read again; what the limiters have learned remains."""
        self._settings = max_rate, max_wait
        for limiter in (self._all, *self._limiters.values()):
            limiter.configure(max_rate, max_wait)

    def limiter(self, endpoint: str) -> RateLimiter:
        """Return the limiter that learns from the answers of an endpoint."""
        return self._limiters[endpoint]

    async def acquire(self, endpoint: str) -> None:
        """Wait until a request may be sent."""
        clock = asyncio.get_running_loop().time
        async with self._locks[endpoint]:
            # Meanwhile an answer may arrive that asks for a longer pause.
            while (left := self._delay(endpoint, clock())) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left)
            now = clock()
            self._all.record_sent(now)
            self._limiters[endpoint].record_sent(now)

    def _delay(self, endpoint: str, now: float) -> float:
        own = self.limiter(endpoint).delay(now)
        return max(self._all.delay(now), own, *(limiter.pause_left(now) for limiter in self._limiters.values()))


_pacers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Pacer]] = WeakKeyDictionary()


def shared_pacer(connection: CordialConnection) -> Pacer:
    """Return the pacer of an account, which all its clients in this event loop share, with a connection's settings."""
    pacers = _pacers.setdefault(asyncio.get_running_loop(), {})
    account = (connection.base_url, connection.api_key)
    settings = connection.requests_per_minute, connection.max_wait
    if account in pacers:
        pacers[account].configure(*settings)
    else:
        pacers[account] = Pacer(*settings)
    return pacers[account]


class AsyncCordialClient:
    """Read from Cordial's v2 API in an event loop; answers mean the same as for the hook.

    Create it in the loop; use it with ``async with``, or end it with ``retire`` or ``close``. It never submits an
    export: a trigger may be restarted at any time. Requests are sent at the rate of the account, and once: the caller
    polls again anyway.

    :param connection: see ``hooks.cordial.read_connection``.
    """

    def __init__(self, connection: CordialConnection) -> None:
        import aiohttp

        self.connection = connection
        self._pacer = shared_pacer(connection)
        self._session = aiohttp.ClientSession(
            connection.base_url,
            headers=api.HEADERS,
            timeout=aiohttp.ClientTimeout(
                total=min(connection.total_timeout, STATUS_TIMEOUT),
                sock_connect=connection.connect_timeout,
                sock_read=connection.read_timeout,
            ),
            connector=aiohttp.TCPConnector(ssl=_tls_context()),
        )
        # aiohttp would read the environment again for each request, in a thread.
        proxy, login = _proxy_to(connection.base_url)
        # Not headers of the session: aiohttp would send the API key to the proxy, as its login.
        headers = {"Authorization": f"Basic {connection.basic_token}"}
        # aiohttp sends proxy_headers only with CONNECT; a request to an http address goes to the proxy itself.
        is_tunneled = connection.base_url.startswith("https:")
        self._options: dict[str, Any] = {
            "proxy": proxy,
            "headers": headers if is_tunneled else {**headers, **login},
            "proxy_headers": login if is_tunneled and login else None,
        }
        self._in_flight = 0
        self._is_retired = False

    async def __aenter__(self) -> AsyncCordialClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session; requests in flight fail."""
        await self._session.close()

    async def retire(self) -> None:
        """Close the session as soon as the requests in flight have ended; no new ones are expected."""
        self._is_retired = True
        if not self._in_flight:
            await self.close()

    async def get_job(self, job_id: str) -> Job:
        """Return the current state of a job (see ``CordialHook.get_job``)."""
        request = api.get_job(job_id).with_secrets(self.connection.secrets)
        return api.parse_job(request, await self._send(request), job_id)

    async def list_page(self, page: int) -> list[Mapping[str, Any]]:
        """Return the records of one page of the list of jobs (see ``CordialHook.list_jobs``); none past the end."""
        request = api.list_jobs(page=page).with_secrets(self.connection.secrets)
        try:
            return api.parse_records(request, await self._send(request))
        except NotFoundError as error:  # documented for the list too: no match
            if not error.is_from_cordial:
                raise
            return []

    async def _send(self, request: api.Request) -> Any:
        # A request that still waits for its turn needs the session too.
        self._in_flight += 1
        try:
            await self._pacer.acquire(request.endpoint)
            return await self._exchange(request)
        finally:
            self._in_flight -= 1
            if self._is_retired and not self._in_flight:
                await self.close()

    async def _exchange(self, request: api.Request) -> Any:
        import aiohttp

        limiter, clock = self._pacer.limiter(request.endpoint), asyncio.get_running_loop().time
        try:
            async with self._session.request(
                request.method, request.path, params=request.params, allow_redirects=False, **self._options
            ) as response:
                answer = api.Answer(response.status, response.headers, await _read(request, response))
        except (aiohttp.ClientError, TimeoutError) as error:
            limiter.observe_failure(clock())
            raise api.connection_failed(request, self.connection.base_url, error, sent=True) from None
        limiter.observe_answer(answer.status, answer.headers, clock())
        return api.interpret(request, answer)


async def _read(request: api.Request, response: aiohttp.ClientResponse) -> bytes:
    """Return the body, unless it is too large once it is decompressed."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > api.MAX_ANSWER:
            raise api.answer_too_large(request, response.status)
    return bytes(body)


def _proxy_to(base_url: str) -> tuple[str | None, dict[str, str]]:
    """Return the proxy that the environment sets for an address, as requests would use it, and its login as headers."""
    import base64
    from urllib.parse import unquote, urlsplit
    from urllib.request import getproxies, proxy_bypass

    address = urlsplit(base_url)
    proxy = getproxies().get(address.scheme)
    port = address.port or {"http": 80, "https": 443}[address.scheme]
    if not proxy or proxy_bypass(f"{address.hostname}:{port}"):
        return None, {}
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if not url.username:
        return url.geturl(), {}
    login = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
    without_login = url._replace(netloc=url.netloc.rpartition("@")[2])
    return without_login.geturl(), {"Proxy-Authorization": f"Basic {base64.b64encode(login).decode()}"}


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the certificates that requests trusts, so that the hook and the client reach the same servers."""
    import os
    import ssl
    from pathlib import Path

    import certifi

    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
