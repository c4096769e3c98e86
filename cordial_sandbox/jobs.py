"""Run jobs: Scheduled, Pending, Processing, and then Done or Failed.

Each status is kept before the next step is taken, and delivering twice leaves one file: so a job that was cut short
anywhere goes on from its last status when the sandbox starts again.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path

from cordial_sandbox.delivery import DeliveredFile, DeliveryError, deliver
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import JobRow, Store, now
from cordial_sandbox.trends import trends_csv

log = logging.getLogger(__name__)

RUNNING = ("Scheduled", "Pending", "Processing")

_LOOK_AGAIN = 0.05


class JobRunner:
    """Takes every job to its end.

    :param data: the sandbox's own folder.
    """

    def __init__(self, store: Store, data: Path) -> None:
        self._store = store
        self._data = data
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """Go on with all jobs that are not settled."""
        for job in self._store.jobs():
            if not job.is_settled:
                self.start(job.id)

    def start(self, job_id: str) -> None:
        task = asyncio.create_task(self._run(job_id))
        self._tasks[job_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job_id, None))

    async def stop(self) -> None:
        """Let go of all jobs; they stay as they are."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job_id: str) -> None:
        try:
            job = await self._to_its_end(job_id)
            if not job.is_settled:
                await asyncio.sleep(self._store.behaviour.delivery_delay)
                await self._deliver(job)
        except Exception:
            log.exception("Job %s stopped for an error of the sandbox's own", job_id)
            self._set(job_id, "Failed", reason="The sandbox itself failed; see its log.")

    async def _to_its_end(self, job_id: str) -> JobRow:
        while True:
            job = self._store.job(job_id)
            behaviour = self._store.behaviour
            if job.has_ended:
                return job
            if (held := _held_in(job, behaviour)) is not None:
                if job.status != held:
                    self._set(job_id, held)
                await asyncio.sleep(_LOOK_AGAIN)
                continue
            await asyncio.sleep(behaviour.job_seconds / len(RUNNING))
            await self._step(job)

    async def _step(self, job: JobRow) -> None:
        """Take a job from one status to the next."""
        behaviour = self._store.behaviour
        if _held_in(job, behaviour) is not None:
            return
        if job.status != RUNNING[-1]:
            place = RUNNING.index(job.status) if job.status in RUNNING else 0
            self._set(job.id, RUNNING[place + 1])
        elif behaviour.job_fails_with is not None:
            self._set(job.id, "Failed", reason=behaviour.job_fails_with)
        elif behaviour.delivery_delay:
            self._set(job.id, "Done")
        else:
            await self._deliver(job)

    async def _deliver(self, job: JobRow) -> None:
        behaviour = self._store.behaviour
        # In a thread: a timeframe of centuries takes seconds, and requests are answered meanwhile.
        content = await asyncio.to_thread(trends_csv, job.audiences, job.start, job.end, behaviour)
        timestamp = datetime.fromtimestamp(job.created_at, UTC).strftime("%Y%m%d%H%M%S")
        file_name = behaviour.file_name.format(name=job.name, job_id=job.id, timestamp=timestamp)
        file = DeliveredFile(file_name, content, job.id, behaviour.write_seconds)
        try:
            place = await deliver({**job.destination, **job.secrets}, file, self._data)
        except DeliveryError as error:
            # Who has seen Done never sees anything else: then only the control API tells of it.
            self._set(job.id, "Done" if job.has_ended else "Failed", reason=str(error))
        else:
            self._set(job.id, "Done", delivered_to=place)

    def _set(self, job_id: str, status: str, reason: str | None = None, delivered_to: str | None = None) -> None:
        moment = now().timestamp()
        before = self._store.job(job_id)
        changes: dict[str, object] = {"status": status, "reason": reason, "delivered_to": delivered_to}
        if status not in ("Scheduled", "Pending") and before.started_at is None:
            changes["started_at"] = moment
        if status in ("Done", "Failed") and before.ended_at is None:
            changes["ended_at"] = moment
        self._store.change_job(job_id, **changes)
        log.info("Job %s is %s%s", job_id, status, f": {reason}" if reason else "")


def _held_in(job: JobRow, behaviour: Behaviour) -> str | None:
    """Return the status that a job is to stay in, if any: one that it has left already does not take it back."""
    held = behaviour.job_stays_in
    if held in RUNNING and job.status in RUNNING and RUNNING.index(job.status) > RUNNING.index(held):
        return None
    return held
