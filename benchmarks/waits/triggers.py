"""The contenders: ours, triggers of other providers, and hand-written alternatives.

Each function imports what it needs, and returns a factory that builds the trigger of a job.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass
from typing import Any

import aiohttp
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

DEADLINE = 86_400.0

PER_PAGE = 100


@dataclass(frozen=True)
class WaitOptions:
    """What the factories may need.

    :param poll_interval: seconds.
    :param url: the sandbox, for triggers that read no Airflow connection.
    :param headers: the login of the sandbox.
    :param session: for triggers that share one.
    """

    poll_interval: float
    url: str
    headers: dict[str, str]
    session: aiohttp.ClientSession


TriggerFactory = Callable[[str], BaseTrigger]


def limit(_options: WaitOptions) -> TriggerFactory:
    return Sleep


def cordial(options: WaitOptions) -> TriggerFactory:
    from airflow_provider_cordial.triggers.job import JobTrigger

    deadline = time.time() + DEADLINE
    return lambda job_id: JobTrigger("cordial_default", job_id, options.poll_interval, deadline)


def dbt_cloud(options: WaitOptions) -> TriggerFactory:
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    discover_hook("dbt_cloud")
    end = time.time() + DEADLINE
    return lambda job_id: DbtCloudRunJobTrigger("dbt_cloud_default", int(job_id), end, options.poll_interval, 1)


def databricks(options: WaitOptions) -> TriggerFactory:
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    discover_hook("databricks")
    interval = int(options.poll_interval)
    return lambda job_id: DatabricksExecutionTrigger(int(job_id), "databricks_default", interval)


def naive(options: WaitOptions) -> TriggerFactory:
    return lambda job_id: Get(job_id, options, None)


def one_session(options: WaitOptions) -> TriggerFactory:
    return lambda job_id: Get(job_id, options, options.session)


def shared_stream(options: WaitOptions) -> TriggerFactory:
    return lambda job_id: Listed(job_id, options.url, options.headers, options.poll_interval)


FACTORIES: dict[str, Callable[[WaitOptions], TriggerFactory]] = {
    kind.__name__: kind for kind in (limit, cordial, dbt_cloud, databricks, naive, one_session, shared_stream)
}


def discover_hook(conn_type: str) -> None:
    """Let Airflow discover its providers now, which these hooks do at the first request: it is not part of a wait."""
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().hooks[conn_type]  # type: ignore[no-untyped-call]


def is_success(payload: Any) -> bool:
    """Return whether an event of any contender reports that the job is done."""
    return payload.get("status") == "success" or '"result_state": "SUCCESS"' in payload.get("run_state", "")


def done(job_id: str) -> TriggerEvent:
    return TriggerEvent({"status": "success", "job_id": job_id})  # type: ignore[no-untyped-call,unused-ignore]


class UnstoredTrigger(BaseTrigger):
    """A trigger that is never stored."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {}


class Sleep(UnstoredTrigger):
    """Sends no requests: the job id is the moment of the end."""

    def __init__(self, job_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.job_id = job_id

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(int(self.job_id) / 1000 - time.time())
        yield done(self.job_id)


class Get(UnstoredTrigger):
    """One GET per poll, in a session of its own by default."""

    def __init__(self, job_id: str, options: WaitOptions, session: aiohttp.ClientSession | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.job_id = job_id
        self.url = f"{options.url}/v2/jobs/{job_id}"
        self.headers = options.headers
        self.poll_interval = options.poll_interval
        self.session = session

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while True:
            if await self.poll() == "Done":
                yield done(self.job_id)
                return
            await asyncio.sleep(self.poll_interval)

    async def poll(self) -> str | None:
        try:
            if self.session:
                return await self.request(self.session)
            async with aiohttp.ClientSession() as session:
                return await self.request(session)
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def request(self, session: aiohttp.ClientSession) -> str:
        async with session.get(self.url, headers=self.headers) as answer:
            answer.raise_for_status()
            return str((await answer.json())["status"])


class Listed(BaseEventTrigger):
    """A shared stream of Airflow: one poll lists the jobs, and each trigger receives every snapshot."""

    def __init__(self, job_id: str, url: str, headers: dict[str, str], poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.job_id = job_id
        self.url = url
        self.headers = headers
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.Listed", {
            "job_id": self.job_id,
            "url": self.url,
            "headers": self.headers,
            "poll_interval": self.poll_interval,
        }

    def shared_stream_key(self) -> Hashable:
        return self.url, self.poll_interval

    def run(self) -> AsyncIterator[TriggerEvent]:
        raise NotImplementedError  # the triggerer does not call it for a shared stream

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[dict[str, str]]:
        clock = asyncio.get_running_loop().time
        async with aiohttp.ClientSession(kwargs["url"], headers=kwargs["headers"]) as session:
            while True:
                started = clock()
                yield {job["_id"]: job["status"] async for job in listed(session)}
                await asyncio.sleep(started + kwargs["poll_interval"] - clock())

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        async for statuses in shared_stream:
            if statuses.get(self.job_id) == "Done":
                yield done(self.job_id)
                return


async def listed(session: aiohttp.ClientSession) -> AsyncIterator[dict[str, str]]:
    """Yield all jobs, page by page."""
    page, length = 0, PER_PAGE
    while length == PER_PAGE:
        page += 1
        async with session.get("/v2/jobs", params={"page": page, "per_page": PER_PAGE}) as answer:
            answer.raise_for_status()
            jobs = await answer.json()
        for job in jobs:
            yield job
        length = len(jobs)
