"""Account: the client of one Airflow connection, replaced when the connection changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from airflow_provider_cordial.client import metrics
from airflow_provider_cordial.client.async_client import AsyncCordialClient
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    CordialError,
    MissingConnectionError,
    PermissionDeniedError,
)
from airflow_provider_cordial.hooks.cordial import read_connection
from airflow_provider_cordial.jobs.schedule import jitter

#: Minimum seconds between two reads of a connection whose key is rejected.
REREAD_PAUSE = 2.0

#: Seconds between attempts to read a connection: the first pause, and the longest.
FIRST_READ_PAUSE, LONGEST_READ_PAUSE = 1.0, 30.0

#: Seconds during which a missing connection is read again: while the metadata database cannot be reached, Airflow
#: reports that a connection does not exist.
MISSING_GRACE = 60.0

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Account:
    """Sends requests on one Airflow connection; call ``open`` first and ``close`` last.

    :param on_change: called after the connection has changed.
    """

    def __init__(self, cordial_conn_id: str, *, on_change: Callable[[], None]) -> None:
        self._cordial_conn_id = cordial_conn_id
        self._on_change = on_change
        self._client: AsyncCordialClient | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def open(self) -> CordialConnection:
        """Read the connection, with retries while Airflow cannot read it.

        :raises CordialError: the connection is invalid, or missing after ``MISSING_GRACE``.
        """
        clock = asyncio.get_running_loop().time
        started, pause = clock(), FIRST_READ_PAUSE
        while True:
            try:
                connection = await read_connection(self._cordial_conn_id)
            except Exception as error:  # of any secrets backend; its text may contain a secret
                is_missing = isinstance(error, MissingConnectionError)
                if isinstance(error, CordialError) and not (is_missing and clock() - started < MISSING_GRACE):
                    raise
                if pause == FIRST_READ_PAUSE:
                    log.warning("Cannot read connection %s (%s); retrying", self._cordial_conn_id, type(error).__name__)
                await asyncio.sleep(pause * jitter())
                pause = min(2 * pause, LONGEST_READ_PAUSE)
            else:
                self._use(connection)
                return connection

    async def close(self) -> None:
        """Close the client; requests in flight fail."""
        if self._client is not None:
            await self._client.close()

    async def request(self, call: Callable[[AsyncCordialClient], Awaitable[_T]]) -> _T:
        """Return the result of a request; if the key is rejected and has been rotated, send it again with the new one.

        :raises CordialError: see ``client.api.interpret``.
        """
        metrics.count("poll.requests", connection=self._cordial_conn_id)
        client = self._current
        try:
            return await call(client)
        except (AuthenticationError, PermissionDeniedError):
            if not await self._reconnect(client):
                raise
        return await call(self._current)

    @property
    def _current(self) -> AsyncCordialClient:
        assert self._client is not None, "the account is not open"  # noqa: S101
        return self._client

    def _use(self, connection: CordialConnection) -> None:
        self._client = AsyncCordialClient(connection)
        self._read_at = asyncio.get_running_loop().time()

    async def _reconnect(self, rejected: AsyncCordialClient) -> bool:
        """Read the connection again, because its key may have been rotated; return whether the client is a new one."""
        async with self._reading:
            if self._current is not rejected:
                return True
            if asyncio.get_running_loop().time() - self._read_at < REREAD_PAUSE:
                return False
            try:
                connection = await read_connection(self._cordial_conn_id)
            except MissingConnectionError:
                # It may be readable again before the grace period of the rejection is over.
                log.warning("Cannot read connection %s, whose key is rejected", self._cordial_conn_id)
                return False
            except CordialError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                msg = f"Cannot read Airflow connection {self._cordial_conn_id!r} ({type(error).__name__})."
                raise ConnectionFailedError(msg, sent=False) from None
            finally:
                self._read_at = asyncio.get_running_loop().time()
            if connection == rejected.connection:
                return False
            log.info("Connection %s has changed; using its new values", self._cordial_conn_id)
            self._use(connection)
            self._on_change()
            await rejected.retire()
            return True
