"""The contenders: ours, triggers of other providers, and hand-written alternatives.

Each way imports what it needs, and returns what makes the trigger of a job.
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
class Terms:
    """The conditions of a wait.

    :param url: of the sandbox, and what it lets in, for those that read no Airflow connection.
    :param session: for those that share one.
    """

    poll_interval: float
    url: str
    headers: dict[str, str]
    session: aiohttp.ClientSession


Make = Callable[[str], BaseTrigger]


def limit(_terms: Terms) -> Make:
    return Sleep


def cordial(terms: Terms) -> Make:
    from airflow_provider_cordial.triggers.job import JobTrigger

    deadline = time.time() + DEADLINE
    return lambda job_id: JobTrigger("cordial_default", job_id, terms.poll_interval, deadline)


def dbt_cloud(terms: Terms) -> Make:
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    know_hook("dbt_cloud")
    end = time.time() + DEADLINE
    return lambda job_id: DbtCloudRunJobTrigger("dbt_cloud_default", int(job_id), end, terms.poll_interval, 1)


def databricks(terms: Terms) -> Make:
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    know_hook("databricks")
    interval = int(terms.poll_interval)
    return lambda job_id: DatabricksExecutionTrigger(int(job_id), "databricks_default", interval)


def naive(terms: Terms) -> Make:
    return lambda job_id: Get(job_id, terms, None)


def one_session(terms: Terms) -> Make:
    return lambda job_id: Get(job_id, terms, terms.session)


def shared_stream(terms: Terms) -> Make:
    return lambda job_id: Listed(job_id, terms.url, terms.headers, terms.poll_interval)


WAYS: dict[str, Callable[[Terms], Make]] = {
    way.__name__: way for way in (limit, cordial, dbt_cloud, databricks, naive, one_session, shared_stream)
}


def know_hook(conn_type: str) -> None:
    """Let Airflow discover its providers, as these hooks do at the first request: that is not part of a wait."""
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().hooks[conn_type]  # type: ignore[no-untyped-call]


def is_success(payload: Any) -> bool:
    """Return whether an event of any contender reports that the job is done."""
    return payload.get("status") == "success" or '"result_state": "SUCCESS"' in payload.get("run_state", "")


def done(job_id: str) -> TriggerEvent:
    return TriggerEvent({"status": "success", "job_id": job_id})  # type: ignore[no-untyped-call,unused-ignore]


class Bare(BaseTrigger):
    """A trigger that is never stored."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {}


class Sleep(Bare):
    """Sends no request: it knows when the job is done."""

    def __init__(self, job_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.job_id = job_id

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(int(self.job_id) / 1000 - time.time())
        yield done(self.job_id)


class Get(Bare):
    """One GET per poll, in a session of its own by default."""

    def __init__(self, job_id: str, terms: Terms, session: aiohttp.ClientSession | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.job_id = job_id
        self.url = f"{terms.url}/v2/jobs/{job_id}"
        self.headers = terms.headers
        self.poll_interval = terms.poll_interval
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
                return await self.ask(self.session)
            async with aiohttp.ClientSession() as session:
                return await self.ask(session)
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def ask(self, session: aiohttp.ClientSession) -> str:
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
        raise NotImplementedError  # the triggerer does not run the triggers of a stream

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[dict[str, str]]:
        clock = asyncio.get_running_loop().time
        async with aiohttp.ClientSession(kwargs["url"], headers=kwargs["headers"]) as session:
            while True:
                began = clock()
                yield {job["_id"]: job["status"] async for job in listed(session)}
                await asyncio.sleep(began + kwargs["poll_interval"] - clock())

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
