"""One contender in a process of its own: many triggers in one event loop, run by Airflow's triggerer.

Prints ``ready`` after the imports, reads the ids of the jobs, waits for them, and prints the measurements.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import aiohttp
import psutil  # type: ignore[import-untyped,unused-ignore]
from airflow.jobs.triggerer_job_runner import TriggerRunner

from waits.plan import TICK, Plan
from waits.triggers import FACTORIES, TriggerFactory, WaitOptions, is_success


@dataclass(frozen=True)
class Measurements:
    """The measurements of a run: times in seconds, memory in kilobytes, lags in milliseconds.

    :param cpu: user and system time.
    :param arrivals: when the event of each Done job arrived, in seconds since the epoch.
    """

    seconds: float
    cpu: float
    base: float
    peak: float
    lag_p50: float
    lag_p99: float
    lag_max: float
    lookups: int
    connects: int
    arrivals: dict[str, float]


class Arrivals(deque[Any]):
    """The queue in which the triggerer collects events; records when each success arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, float] = {}

    def append(self, entry: Any) -> None:
        if is_success(entry.event.payload):
            self.at[entry.trigger_id] = time.time()


async def measure(plan: Plan, answers: TextIO) -> Measurements:
    account = json.loads(os.environ.get("AIRFLOW_CONN_CORDIAL_DEFAULT", "{}"))
    token = base64.b64encode(f"{account.get('password')}:".encode()).decode()
    async with aiohttp.ClientSession() as session:
        options = WaitOptions(plan.poll_interval, account.get("host", ""), {"Authorization": f"Basic {token}"}, session)
        build_trigger = FACTORIES[plan.kind](options)
        print("ready", file=answers, flush=True)
        jobs = json.loads(sys.stdin.readline())
        return await run(plan, build_trigger, jobs)


async def run(plan: Plan, build_trigger: TriggerFactory, jobs: list[str]) -> Measurements:
    runner: Any = TriggerRunner()  # type: ignore[no-untyped-call]
    arrivals, lags = Arrivals(), list[float]()
    lookups, connects = count_lookups(), count_connects()
    runner.events = arrivals
    gc.collect()
    base = psutil.Process().memory_info().rss / 1024
    started, cpu_before = time.perf_counter(), time.process_time()
    ticker = asyncio.create_task(tick(lags))
    # The same steps as in TriggerRunner.create_triggers and TriggerRunner.arun.
    for number, job_id in enumerate(jobs):
        await asyncio.sleep(0)
        trigger = build_trigger(job_id)
        trigger.trigger_id = number
        task = asyncio.create_task(runner.run_trigger(number, trigger), name=job_id)
        runner.triggers[number] = {"task": task, "is_watcher": False, "name": job_id, "events": 0}
    passed = 0.0
    while passed < plan.seconds or (passed < plan.timeout and len(arrivals.at) < len(jobs)):
        await runner.cleanup_finished_triggers()
        await asyncio.sleep(1)
        passed = time.perf_counter() - started
    ticker.cancel()
    cpu = time.process_time() - cpu_before
    lags = sorted(1000 * lag for lag in lags)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unfinished = [details["task"] for details in runner.triggers.values()]
    for task in unfinished:
        task.cancel()
    await asyncio.gather(*unfinished, return_exceptions=True)
    return Measurements(
        passed,
        cpu,
        base,
        peak,
        quantile(lags, 0.5),
        quantile(lags, 0.99),
        lags[-1],
        len(lookups),
        len(connects),
        {jobs[number]: moment for number, moment in arrivals.at.items()},
    )


async def tick(lags: list[float]) -> None:
    """Record how much later than requested a short sleep ends."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - before - TICK)


def count_connects() -> list[object]:
    """Record each TCP connection that this process opens.

    The server could only count ports, and a port may be reused within a minute.
    """
    connects: list[object] = []

    def counting(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            connects.append(arguments[1])

    sys.addaudithook(counting)
    return connects


def count_lookups() -> list[str]:
    """Record each lookup of an Airflow connection, synchronous or not."""
    from airflow.sdk import Connection

    lookups: list[str] = []

    def counting(lookup: Callable[..., Any]) -> Any:
        def counted(_class: type, conn_id: str) -> Any:
            lookups.append(conn_id)
            return lookup(conn_id)

        return classmethod(counted)

    Connection.get = counting(Connection.get)  # type: ignore[method-assign]
    Connection.async_get = counting(Connection.async_get)  # type: ignore[method-assign]
    return lookups


def quantile(values: list[float], share: float) -> float:
    """Return a quantile of a sorted list."""
    return values[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(asdict(asyncio.run(measure(Plan(**json.loads(sys.argv[1])), answers)))), file=answers, flush=True)
