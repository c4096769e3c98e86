"""A waiter takes the newest result and never loses the last one."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.jobs import subscription
from airflow_provider_cordial.jobs.subscription import Subscription

PENDING, DONE = (Job.from_record({"status": status}, "j1") for status in ("Pending", "Done"))


def build(seconds: float = 60.0) -> Subscription:
    now = asyncio.get_running_loop().time()
    return Subscription("j1", poll_interval=0.01, deadline=now + seconds, now=now)


def test_a_result_is_taken_once_and_a_newer_one_replaces_it() -> None:
    async def take() -> list[object]:
        one = build()
        one.publish(PENDING)
        one.publish(DONE)
        first = await one.next_result()
        waiting = asyncio.create_task(one.next_result())
        await asyncio.sleep(0)
        one.publish(PENDING)
        return [first, await waiting]

    assert asyncio.run(take()) == [DONE, PENDING]


def test_a_wait_without_a_result_ends_after_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "FINAL_POLL_GRACE", 0.05)

    async def wait() -> object:
        return await asyncio.wait_for(build(0.0).next_result(), 5)

    assert asyncio.run(wait()) is None


def test_a_result_in_the_turn_of_the_timeout_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "FINAL_POLL_GRACE", 0.05)

    async def race(*, publishes_first: bool) -> object:
        one = build(0.0)
        loop = asyncio.get_running_loop()
        if publishes_first:
            loop.call_at(one.ends_at, one.publish, DONE)
        waiting = asyncio.create_task(one.next_result())
        await asyncio.sleep(0)
        if not publishes_first:
            loop.call_at(one.ends_at, one.publish, DONE)
        # Both timers are overdue when the loop runs again, so they fire in the same turn.
        time.sleep(0.1)  # noqa: ASYNC251
        return await waiting

    assert asyncio.run(race(publishes_first=True)) == DONE
    assert asyncio.run(race(publishes_first=False)) == DONE
