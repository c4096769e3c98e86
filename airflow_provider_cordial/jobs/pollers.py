"""The pollers of an event loop: one per connection, while it has subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.exceptions import JobTimeoutError
from airflow_provider_cordial.jobs.poller import Poller
from airflow_provider_cordial.jobs.subscription import Subscription

_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = WeakKeyDictionary()


@asynccontextmanager
async def subscribe(
    cordial_conn_id: str, job_id: str, *, poll_interval: float, deadline: float
) -> AsyncIterator[tuple[Subscription, CordialConnection]]:
    """Subscribe to a job; all subscriptions to one connection in this event loop share a poller.

    :param poll_interval: the longest pause between two polls of the job, in seconds.
    :param deadline: seconds since the epoch.
    :raises JobTimeoutError: the connection could not be read before the deadline.
    :raises CordialError: the connection is invalid.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(cordial_conn_id)
    if poller is None:
        poller = pollers[cordial_conn_id] = Poller(cordial_conn_id)
    subscription = poller.add(job_id, poll_interval, deadline)
    try:
        yield subscription, await _connection_of(poller, subscription)
    finally:
        poller.remove(subscription)
        if poller.is_idle:
            if pollers.get(cordial_conn_id) is poller:
                del pollers[cordial_conn_id]
            poller.stop()


async def _connection_of(poller: Poller, subscription: Subscription) -> CordialConnection:
    try:
        async with asyncio.timeout_at(subscription.ends_at):
            return await asyncio.shield(poller.connection)
    except TimeoutError:
        msg = (
            f"Job {subscription.job_id} was not polled before the deadline: Airflow connection "
            f"{poller.cordial_conn_id!r} could not be read. Check the triggerer's log."
        )
        raise JobTimeoutError(msg) from None
