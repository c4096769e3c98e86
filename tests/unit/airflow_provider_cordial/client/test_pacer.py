"""The pacer of an account: a connection that is read again changes it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from airflow.sdk import Connection

from airflow_provider_cordial.client.async_client import Pacer, shared_pacer
from airflow_provider_cordial.client.connection import CordialConnection

LIST, JOB = "GET /v2/jobs", "GET /v2/jobs/{id}"


def connection(**extra: Any) -> CordialConnection:
    return replace(CordialConnection.from_airflow(Connection(conn_id="c", conn_type="cordial", password="k")), **extra)


async def seconds_for(pacer: Pacer, requests: int) -> float:
    clock = asyncio.get_running_loop().time
    started = clock()
    for number in range(requests):
        await pacer.acquire(LIST if number % 2 else JOB)
    return clock() - started


def test_a_changed_rate_applies_to_the_existing_pacer() -> None:
    async def change() -> tuple[float, float, float]:
        pacer = shared_pacer(connection(requests_per_minute=600))
        fast = await seconds_for(pacer, 6)
        assert shared_pacer(connection(requests_per_minute=120)) is pacer
        slow = await seconds_for(pacer, 3)
        shared_pacer(connection(requests_per_minute=6000))
        return fast, slow, await seconds_for(pacer, 6)

    fast, slow, fastest = asyncio.run(change())
    assert 0.45 < fast < 0.9
    assert slow > 0.95
    assert fastest < 0.9


def test_a_changed_rate_keeps_a_pause() -> None:
    async def change() -> tuple[float, float]:
        clock = asyncio.get_running_loop().time
        pacer = shared_pacer(connection(requests_per_minute=600, max_wait=100.0))
        pacer.limiter(LIST).observe_answer(429, {"Retry-After": "50"}, clock())
        shared_pacer(connection(requests_per_minute=60, max_wait=10.0))
        left = pacer.limiter(LIST).pause_left(clock())
        pacer.limiter(JOB).observe_answer(429, {"Retry-After": "50"}, clock())
        return left, pacer.limiter(JOB).pause_left(clock())

    kept, bounded = asyncio.run(change())
    assert 49 < kept <= 51
    assert 9 < bounded <= 11
