"""ExportJobTrigger: an asset event when export jobs become Done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_cordial.client import api
from airflow_provider_cordial.exceptions import CordialError
from airflow_provider_cordial.jobs.finished_exports import FinishedExports

if TYPE_CHECKING:
    from airflow_provider_cordial.client.async_client import AsyncCordialClient
    from airflow_provider_cordial.client.job import Job

#: The key in the asset state store.
STATE = "cordial_ended_jobs"

#: Seconds after which an event that was fired is surely in Airflow's database, and may be taken for told.
TOLD_AFTER = 5.0


class ExportJobTrigger(BaseEventTrigger):
    """Watch an account for export jobs that become Done, whoever started them; for an ``AssetWatcher``.

    Each is in one event: ``{"jobs": [{"job_id": ..., "name": ..., "job": its record}, ...]}`` holds those that one
    look has found. They share an event because of two that follow each other within seconds Airflow 3.3 leaves the
    second to the run that the next event starts, whenever that is. What was Done before the first look makes none.
    Which jobs were told of is kept in the asset state store (Airflow 3.3), so a restart neither repeats nor forgets; a
    triggerer that is killed within seconds of an event may fire it again. Below 3.3 each start begins anew. Whatever
    goes wrong is logged once and tried again.

    :param cordial_conn_id: the Airflow connection.
    :param name_prefix: how the names of the exports begin; by default all count.
    :param job_name: Cordial's ``jobName`` of the jobs, ``ExportContacts`` for instance; by default all that may be
        exports count, for that of Audience Trends is not documented.
    :param poll_interval: seconds between two looks; more than a busy scheduler takes to start a run.

    Source: Cordial, "Jobs API".
    """

    supports_triggerer_queue = True

    # The triggerer does not survive an error here, so nothing is checked.
    def __init__(
        self,
        cordial_conn_id: str = "cordial_default",
        name_prefix: str = "",
        job_name: str | None = None,
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.cordial_conn_id = cordial_conn_id
        self.name_prefix = name_prefix
        self.job_name = job_name
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments: no secret is among them."""
        return (
            "airflow_provider_cordial.triggers.export_job.ExportJobTrigger",
            {
                "cordial_conn_id": self.cordial_conn_id,
                "name_prefix": self.name_prefix,
                "job_name": self.job_name,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the account for ever, and yield an event where exports have become Done."""
        ended: FinishedExports | None = None
        remembered: Any = None
        last_trouble = ""
        while True:
            trouble, pause = "", self.poll_interval
            try:
                if ended is None:
                    remembered = await self._remembered()
                    ended = FinishedExports(remembered)
                if jobs := await self._look(ended):
                    for job in jobs:
                        self.log.info("Job %s, export %s, is Done", job.id, job.name)
                    told = [{"job_id": job.id, "name": job.name, "job": job.to_json()} for job in jobs]
                    yield TriggerEvent({"jobs": told})  # type: ignore[no-untyped-call,unused-ignore]
                if (state := ended.to_json()) != remembered:
                    pause -= (told_after := min(TOLD_AFTER, self.poll_interval))
                    await asyncio.sleep(told_after)
                    await self._remember(state)
                    remembered = state
            except CordialError as error:
                trouble = str(error)
            except Exception as error:  # noqa: BLE001 - its text may hold a secret
                trouble = type(error).__name__
            if trouble != last_trouble:
                if trouble:
                    self.log.warning("Cordial's jobs cannot be watched, and that is tried again: %s", trouble)
                else:
                    self.log.info("Cordial's jobs can be watched again")
                last_trouble = trouble
            await asyncio.sleep(pause)

    async def _look(self, ended: FinishedExports) -> list[Job]:
        """Read as many pages as may hold news, and return the exports that have become Done."""
        from airflow_provider_cordial.client.async_client import AsyncCordialClient
        from airflow_provider_cordial.hooks.cordial import read_connection

        # Read at each look, which is seldom: a key may be replaced at any time.
        async with AsyncCordialClient(await read_connection(self.cordial_conn_id)) as client:
            rows, whole = await self._rows(client, ended)
        return [
            job
            for job in ended.news(rows, whole=whole)
            if (job.name or "").startswith(self.name_prefix) and self.job_name in (None, job.record.get("jobName"))
        ]

    async def _rows(self, client: AsyncCordialClient, ended: FinishedExports) -> tuple[list[Any], bool]:
        rows: list[Any] = []
        before: list[Any] = []
        for number in range(1, api.MAX_PAGES + 1):
            page = await client.list_page(number)
            # The same page again means that the page number is not heeded.
            if not page or page == before:
                return rows, True
            rows += page
            if ended.suffices(page, rows):
                return rows, False
            before = page
        return rows, True

    async def _remembered(self) -> Any:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return None
        try:
            return await store.aget(STATE)
        except ValueError as error:
            msg = "Several assets are watched by triggers with the same arguments. Give each arguments of its own."
            raise CordialError(msg) from error

    async def _remember(self, state: dict[str, Any]) -> None:
        store = getattr(self, "asset_state_store", None)
        if store is not None:
            await store.aset(STATE, state)
