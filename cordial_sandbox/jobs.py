"""Run jobs: Scheduled, Pending, Processing, and then Done or Failed.

A status is stored before the next step begins, and a repeated delivery replaces the file. A job that was interrupted
at any point therefore resumes from its last status when the sandbox restarts.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from cordial_sandbox.accounts import Account
from cordial_sandbox.delivery import DeliveredFile, DeliveryError, Site, deliver
from cordial_sandbox.exports import KINDS, Content, name_file
from cordial_sandbox.fates import Outcome
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import Store
from cordial_sandbox.tables import JobRow

log = logging.getLogger(__name__)

RUNNING = ("Scheduled", "Pending", "Processing")

_POLL_INTERVAL = 0.05


class JobRunner:
    """Runs every job of an account until it is settled.

    :param site: where its deliveries start.
    """

    def __init__(self, store: Store, account: Account, site: Site) -> None:
        self._store = store
        self._account = account
        self._site = site
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def set_account(self, account: Account) -> None:
        """Replace the account whose audiences and time zone the files have."""
        self._account = account

    def resume(self) -> None:
        """Resume all jobs that are not settled."""
        for job in self._store.unsettled_jobs():
            self.start(job)

    def start(self, job: JobRow) -> None:
        task = asyncio.create_task(self._run(job))
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))

    async def stop(self) -> None:
        """Stop running jobs; each keeps its status."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: JobRow) -> None:
        try:
            ended = await self._run_until_ended(job)
            if not ended.is_settled:
                await asyncio.sleep(self._store.behaviour.delivery_delay)
                await self._deliver(ended)
        except Exception:
            log.exception("Job %s failed because of an internal error of the sandbox", job.id)
            self._set(self._store.job(job.id), "Failed", reason="Internal error of the sandbox; see its log.")

    async def _run_until_ended(self, job: JobRow) -> JobRow:
        while not job.has_ended:
            behaviour = self._store.behaviour
            if (held := _get_held_status(job, behaviour)) is not None:
                if job.status != held:
                    job = self._set(job, held)
                await asyncio.sleep(_POLL_INTERVAL)
                continue
            seconds = behaviour.job_seconds if job.seconds is None else job.seconds
            await asyncio.sleep(seconds / len(RUNNING))
            job = await self._advance(job)
        return job

    async def _advance(self, job: JobRow) -> JobRow:
        """Move a job to its next status."""
        behaviour = self._store.behaviour
        if _get_held_status(job, behaviour) is not None:
            return job
        if job.status != RUNNING[-1]:
            index = RUNNING.index(job.status) if job.status in RUNNING else 0
            return self._set(job, RUNNING[index + 1])
        fails_with = Outcome.model_validate(job.fate).fails_with or behaviour.job_fails_with
        if fails_with is not None:
            return self._set(job, "Failed", reason=fails_with)
        if behaviour.delivery_delay:
            return self._set(job, "Done")
        return await self._deliver(job)

    async def _deliver(self, job: JobRow) -> JobRow:
        behaviour = self._store.behaviour
        content = Content(
            self._account,
            behaviour,
            today=self._account.today(self._store.clock.now()),
            missing_days=frozenset(Outcome.model_validate(job.fate).missing_days),
        )
        # In a thread: a timeframe of centuries takes seconds, and the event loop must answer requests meanwhile.
        rendered = await asyncio.to_thread(KINDS[job.kind].render, job.request, content)
        timestamp = datetime.fromtimestamp(job.created_at, UTC).strftime("%Y%m%d%H%M%S")
        file_name = name_file(behaviour.file_name, job.request, name=job.name, job_id=job.id, timestamp=timestamp)
        file = DeliveredFile(file_name, rendered, job.id, behaviour.write_seconds)
        try:
            location = await deliver({**job.destination, **job.secrets}, file, self._site)
        except DeliveryError as error:
            # Done is final: if the delivery fails afterwards, only the control API has the reason.
            return self._set(job, "Done" if job.has_ended else "Failed", reason=str(error))
        return self._set(job, "Done", delivered_to=location)

    def _set(self, job: JobRow, status: str, reason: str | None = None, delivered_to: str | None = None) -> JobRow:
        now = self._store.clock.now()
        changes: dict[str, object] = {"status": status, "reason": reason, "delivered_to": delivered_to}
        if status not in ("Scheduled", "Pending") and job.started_at is None:
            changes["started_at"] = now
        if status in ("Done", "Failed") and job.ended_at is None:
            changes["ended_at"] = now
        changed = self._store.change_job(job, **changes)
        log.info("Job %s is %s%s", job.id, status, f": {reason}" if reason else "")
        return changed


def _get_held_status(job: JobRow, behaviour: Behaviour) -> str | None:
    """Return the status to hold a job in, or None; a job that has passed that status is not moved back."""
    held = Outcome.model_validate(job.fate).stays_in or behaviour.job_stays_in
    if held in RUNNING and job.status in RUNNING and RUNNING.index(job.status) > RUNNING.index(held):
        return None
    return held
