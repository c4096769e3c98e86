"""AsyncCordialClient: the reading half of the API for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.rate_limiter import RateLimiter
from airflow_provider_cordial.client.retries import HEADERS, connection_failed
from airflow_provider_cordial.exceptions import NotFoundError

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from airflow_provider_cordial.client.job import Job


class Pacer:
    """Lets the requests of one account through one after another, at the pace of its budget."""

    def __init__(self, budget: RateLimiter) -> None:
        self.budget = budget
        self._one_at_a_time = asyncio.Lock()

    async def next(self) -> None:
        """Wait until a request may be sent."""
        clock = asyncio.get_running_loop().time
        async with self._one_at_a_time:
            # While it waits, an answer may come that asks for a longer rest.
            while (left := self.budget.wait(clock())) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left)
            self.budget.sent(clock())


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Pacer]] = WeakKeyDictionary()


def shared_pacer(connection: CordialConnection) -> Pacer:
    """Return the turns of an account: the same ones for all its clients in this event loop."""
    of_loop = _turns.setdefault(asyncio.get_running_loop(), {})
    account = (connection.base_url, connection.api_key)
    if account not in of_loop:
        of_loop[account] = Pacer(RateLimiter(connection.requests_per_minute))
    return of_loop[account]


class AsyncCordialClient:
    """Read from Cordial's v2 API in an event loop, with the same meaning as the hook; made in the loop, used as
    ``async with`` or closed by ``close``.

    An export is never submitted from here: a trigger may be started again at any time. Requests are sent at the pace
    of the account's budget, and once: who uses it looks again anyway.

    :param connection: see ``read_connection``.
    """

    def __init__(self, connection: CordialConnection) -> None:
        import aiohttp

        self.connection = connection
        self._turns = shared_pacer(connection)
        self._session = aiohttp.ClientSession(
            connection.base_url,
            headers={**HEADERS, "Authorization": f"Basic {connection.basic_token}"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connection.connect_timeout, sock_read=connection.read_timeout
            ),
            connector=aiohttp.TCPConnector(ssl=_tls_context()),
        )
        # aiohttp would read the environment for each request anew, in a thread.
        self._proxy = _proxy_to(connection.base_url)

    async def __aenter__(self) -> AsyncCordialClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session; a request that is on its way fails."""
        await self._session.close()

    async def get_job(self, job_id: str) -> Job:
        """Return the job as it is now (see ``CordialHook.get_job``)."""
        request = api.get_job(job_id)
        return api.parse_job(request, await self._send(request), job_id)

    async def list_page(self, page: int) -> list[Mapping[str, Any]]:
        """Return the records of one page of the list of jobs (see ``CordialHook.list_jobs``), none past the last."""
        request = api.list_jobs(page=page)
        try:
            return api.parse_records(request, await self._send(request))
        except NotFoundError:  # declared on the list too: no match
            return []

    async def _send(self, request: api.Request) -> Any:
        import aiohttp

        await self._turns.next()
        budget, clock = self._turns.budget, asyncio.get_running_loop().time
        try:
            async with self._session.request(
                request.method, request.path, params=request.params, allow_redirects=False, **self._proxy
            ) as response:
                answer = api.Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            budget.failed(clock())
            raise connection_failed(request, self.connection, error, sent=True) from None
        budget.answered(answer.status, answer.headers, clock())
        return api.interpret(request, answer, secrets=self.connection.secrets)


def _proxy_to(base_url: str) -> dict[str, Any]:
    """Return aiohttp's options for the proxy that the environment names for an address, as requests heeds it."""
    from urllib.request import getproxies, proxy_bypass

    import aiohttp
    from yarl import URL

    address = URL(base_url)
    proxy = getproxies().get(address.scheme)
    if not proxy or proxy_bypass(f"{address.host}:{address.port}"):
        return {}
    url = URL(proxy)
    login = aiohttp.BasicAuth(url.user, url.password or "") if url.user else None
    return {"proxy": url.with_user(None), "proxy_auth": login}


@cache
def _tls_context() -> ssl.SSLContext:
    """Trust whom requests trusts, so that the hook and the client reach the same servers."""
    import os
    import ssl
    from pathlib import Path

    import certifi

    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
