"""ExportJobTrigger: an asset event when export jobs become Done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_cordial.client.pages import JobPages
from airflow_provider_cordial.exceptions import CordialError
from airflow_provider_cordial.jobs.finished_exports import FinishedExports
from airflow_provider_cordial.jobs.options import is_duration

if TYPE_CHECKING:
    from airflow_provider_cordial.client.async_client import AsyncCordialClient
    from airflow_provider_cordial.client.job import Job

#: The key in the asset state store.
STATE = "cordial_ended_jobs"

#: Seconds; more than a busy scheduler needs to start a run.
DEFAULT_WATCH_INTERVAL = 60.0

#: Seconds after which an event is certainly in Airflow's database, so that its jobs can be stored as reported.
REPORTED_AFTER = 5.0


class ExportJobTrigger(BaseEventTrigger):
    """Watch an account for export jobs that become Done, whoever submitted them; for an ``AssetWatcher``.

    An event ``{"jobs": [{"job_id": ..., "name": ..., "job": its record}, ...]}`` contains the jobs of one poll. They
    share an event because Airflow 3.3 leaves the second of two events within seconds to the run that the next event
    starts, whenever that is. Jobs that were Done before the first poll are not reported. Which jobs were reported is
    kept in the asset state store (Airflow 3.3), so a restart neither repeats nor skips; a triggerer that is killed
    within seconds of an event may fire it again. Below 3.3 each start is a first poll. Errors are logged once and
    retried.

    :param cordial_conn_id: the Airflow connection.
    :param name_prefix: prefix of the names of the exports; by default all match.
    :param job_name: Cordial's ``jobName`` of the jobs, ``ExportContacts`` for instance; by default every job
        that may be an export matches, because the name for Audience Trends is not documented.
    :param poll_interval: seconds between two polls; more than a busy scheduler needs to start a run.

    Source: Cordial, "Jobs API".
    """

    supports_triggerer_queue = True

    # An exception here would crash the triggerer, so nothing is validated.
    def __init__(
        self,
        cordial_conn_id: str = "cordial_default",
        name_prefix: str = "",
        job_name: str | None = None,
        poll_interval: float = DEFAULT_WATCH_INTERVAL,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.cordial_conn_id = cordial_conn_id
        self.name_prefix = name_prefix
        self.job_name = job_name
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, without any secret."""
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
        """Poll the account indefinitely, and yield an event when exports have become Done."""
        finished: FinishedExports | None = None
        remembered: Any = None
        last_problem = ""
        interval = self._interval()
        while True:
            problem, pause = "", interval
            try:
                if finished is None:
                    remembered = await self._read_state()
                    finished = FinishedExports(remembered)
                if jobs := await self._poll(finished):
                    for job in jobs:
                        self.log.info("Job %s, export %s, is Done", job.id, job.name)
                    reported = [{"job_id": job.id, "name": job.name, "job": job.to_json()} for job in jobs]
                    yield TriggerEvent({"jobs": reported})  # type: ignore[no-untyped-call,unused-ignore]
                if (state := finished.to_json()) != remembered:
                    pause -= (reported_after := min(REPORTED_AFTER, interval))
                    await asyncio.sleep(reported_after)
                    await self._write_state(state)
                    remembered = state
            except CordialError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001 - its text may contain a secret
                problem = type(error).__name__
            if problem != last_problem:
                self._log_problem(problem)
                last_problem = problem
            await asyncio.sleep(pause)

    def _log_problem(self, problem: str) -> None:
        if problem:
            self.log.warning("Cannot watch Cordial's jobs; retrying: %s", problem)
        else:
            self.log.info("Watching Cordial's jobs again")

    def _interval(self) -> float:
        if is_duration(self.poll_interval):
            return self.poll_interval
        text = "Invalid poll_interval %r: expected a number of seconds above 0; using %g"
        self.log.warning(text, self.poll_interval, DEFAULT_WATCH_INTERVAL)
        return DEFAULT_WATCH_INTERVAL

    async def _poll(self, finished: FinishedExports) -> list[Job]:
        """Read the pages that may contain new jobs, and return the exports that have become Done."""
        from airflow_provider_cordial.client.async_client import AsyncCordialClient
        from airflow_provider_cordial.hooks.cordial import read_connection

        # Read for each poll, which is rare: a key may be rotated at any time.
        async with AsyncCordialClient(await read_connection(self.cordial_conn_id)) as client:
            rows, is_complete = await self._rows(client, finished)
        return [
            job
            for job in finished.observe(rows, is_complete=is_complete)
            if (job.name or "").startswith(self.name_prefix) and self.job_name in (None, job.record.get("jobName"))
        ]

    async def _rows(self, client: AsyncCordialClient, finished: FinishedExports) -> tuple[list[Any], bool]:
        rows: list[Any] = []
        pages = JobPages()
        while pages.next_page is not None:
            page = pages.add(await client.list_page(pages.next_page))
            rows += page
            if page and finished.is_sufficient(page, rows):
                return rows, False
        return rows, pages.is_complete

    async def _read_state(self) -> Any:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return None
        try:
            return await store.aget(STATE)
        except ValueError as error:
            msg = "Several assets have a watcher with the same arguments. Pass different arguments to each."
            raise CordialError(msg) from error

    async def _write_state(self, state: dict[str, Any]) -> None:
        store = getattr(self, "asset_state_store", None)
        if store is not None:
            await store.aset(STATE, state)
