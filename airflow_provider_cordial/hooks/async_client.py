"""AsyncCordialClient: the reading half of the API for an event loop."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial import api
from airflow_provider_cordial.connection import CordialConnection
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.hooks.sending import HEADERS, connection_failed, retry_options

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    import aiohttp

    from airflow_provider_cordial.jobs import Job


class AsyncCordialClient:
    """Read from Cordial's v2 API in an event loop, with the same meaning as the hook; used as ``async with``.

    An export is never submitted from here: a trigger may be started again at any time.

    :param connection: see ``read_connection``.
    :param attempts: how often a request is sent at most; by default as the connection says.
    """

    def __init__(self, connection: CordialConnection, *, attempts: int | None = None) -> None:
        self.connection = connection
        self.attempts = attempts

    async def __aenter__(self) -> AsyncCordialClient:
        import aiohttp

        connection = self.connection
        self._session: aiohttp.ClientSession = aiohttp.ClientSession(
            connection.base_url,
            headers={**HEADERS, "Authorization": f"Basic {connection.basic_token}"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connection.connect_timeout, sock_read=connection.read_timeout
            ),
            connector=aiohttp.TCPConnector(ssl=_tls_context()),
            trust_env=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get_job(self, job_id: str) -> Job:
        """Return the job as it is now (see ``CordialHook.get_job``)."""
        request = api.get_job(job_id)
        return api.job_of(request, await self._run(request), job_id)

    async def _run(self, request: api.Request) -> Any:
        from tenacity import AsyncRetrying

        options = retry_options(request, self.connection, None, attempts=self.attempts)
        return await AsyncRetrying(**options)(self._send, request)

    async def _send(self, request: api.Request) -> Any:
        import aiohttp

        try:
            async with self._session.request(
                request.method, request.path, params=request.params, allow_redirects=False
            ) as response:
                answer = api.Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise connection_failed(request, self.connection, error, sent=True) from None
        return api.interpret(request, answer, secrets=self.connection.secrets)


async def read_connection(cordial_conn_id: str) -> CordialConnection:
    """Read and check an Airflow connection without holding up the event loop."""
    import asyncio

    # aget_connection is there from Airflow 3.1 on, but only a thread works in every version and in dag.test.
    return await asyncio.to_thread(lambda: CordialHook(cordial_conn_id).connection)


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
