"""Run jobs: Scheduled, Pending, Processing, and then Done or Failed.

A status is stored before the next step begins, and a repeated delivery replaces the file. A job that was interrupted
at any point therefore resumes from its last status when the sandbox restarts.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import UTC, datetime

from cordial_sandbox.accounts import Account
from cordial_sandbox.delivery import DeliveredFile, DeliveryError, Site, deliver
from cordial_sandbox.exports import KINDS, Content, name_file
from cordial_sandbox.exports.kind import Rendered
from cordial_sandbox.fates import Outcome
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import JobState, Store
from cordial_sandbox.tables import JobRow

log = logging.getLogger(__name__)

RUNNING = ("Scheduled", "Pending", "Processing")

_POLL_INTERVAL = 0.05

#: How many due jobs are advanced in one transaction, which takes a few milliseconds.
_BATCH = 50

#: Seconds after a batch that was not full, so that the jobs that are due meanwhile share the next one.
_TICK = 0.02

#: How many batches are delivered to the Jobs page at the same time.
_PAGE_BATCHES = 2

#: How many jobs of a batch are logged one by one.
_LOGGED_JOBS = 5

#: Seconds until a batch is repeated that could not be stored.
_RETRY_INTERVAL = 1.0

_NO_OUTCOME = Outcome()


class JobRunner:
    """Runs every job of an account until it is settled.

    One task advances all jobs at the times at which they are due. In memory, a job is its number only.

    :param site: where its deliveries start.
    """

    def __init__(self, store: Store, account: Account, site: Site) -> None:
        self._store = store
        self._account = account
        self._site = site
        #: A heap of times, each with the number of the job that is due then.
        self._due: list[tuple[float, int]] = []
        #: The jobs that stay in a status until the behavior changes.
        self._held: set[int] = set()
        #: The jobs that were held until the behavior changed, and have not been checked again.
        self._released: set[int] = set()
        self._is_changed = asyncio.Event()
        self._scheduler: asyncio.Task[None] | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self._page_slots = asyncio.Semaphore(_PAGE_BATCHES)

    def set_account(self, account: Account) -> None:
        """Replace the account whose audiences and time zone the files have."""
        self._account = account

    def resume(self) -> None:
        """Resume all jobs that are not settled."""
        self._plan(self._store.unsettled_jobs())

    def start(self, *jobs: JobState) -> None:
        self._plan(jobs)

    async def stop(self) -> None:
        """Stop running jobs; each keeps its status."""
        tasks = [*self._deliveries, *([] if self._scheduler is None else [self._scheduler])]
        self._scheduler = None
        self._due.clear()
        self._held.clear()
        self._released.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _plan(self, jobs: Iterable[JobRow | JobState]) -> None:
        """Plan the next step of jobs."""
        now, behaviour = time.monotonic(), self._store.behaviour
        for job in jobs:
            if job.status == "Done":
                seconds = behaviour.delivery_delay
            elif _get_held_status(job, behaviour) is not None:
                seconds = 0.0
            else:
                seconds = (behaviour.job_seconds if job.seconds is None else job.seconds) / len(RUNNING)
            heapq.heappush(self._due, (now + seconds, job.number))
        self._is_changed.set()
        if self._scheduler is None:
            self._scheduler = asyncio.create_task(self._run())

    async def _run(self) -> None:
        behaviour = self._store.behaviour
        while True:
            started = time.monotonic()
            if self._store.behaviour is not behaviour:
                behaviour = self._store.behaviour
                self._release(started)
            numbers = self._take_due(started)
            if not numbers:
                await self._wait_until_due()
                continue
            try:
                self._advance(numbers, behaviour)
            except Exception:
                log.exception("%d jobs could not be advanced; retrying", len(numbers))
                self._retry(numbers)
            if len(numbers) < _BATCH:
                await asyncio.sleep(_TICK)
            else:
                await yield_to_requests(started)

    def _release(self, now: float) -> None:
        """Check every held job again, as the behavior has changed."""
        self._released |= self._held
        self._due += [(now, number) for number in self._held]
        heapq.heapify(self._due)
        self._held.clear()

    def _take_due(self, now: float) -> Sequence[int]:
        numbers: list[int] = []
        while self._due and self._due[0][0] <= now and len(numbers) < _BATCH:
            numbers.append(heapq.heappop(self._due)[1])
        return numbers

    def _retry(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            heapq.heappush(self._due, (time.monotonic() + _RETRY_INTERVAL, number))
        self._is_changed.set()

    async def _wait_until_due(self) -> None:
        seconds = self._due[0][0] - time.monotonic() if self._due else None
        if self._held:
            seconds = _POLL_INTERVAL if seconds is None else min(seconds, _POLL_INTERVAL)
        self._is_changed.clear()
        with suppress(TimeoutError):
            # Not wait_for, which before Python 3.12 ignores a cancellation if the event is set at the same time.
            async with asyncio.timeout(seconds):
                await self._is_changed.wait()

    def _advance(self, numbers: Sequence[int], behaviour: Behaviour) -> None:
        """Move due jobs to their next status, in one transaction, and start the deliveries that are due."""
        held: list[JobRow] = []
        changed: list[JobRow] = []
        delivered: list[JobRow] = []
        waiting: list[JobRow] = []
        for job in self._store.find_jobs(numbers):
            held_status = _get_held_status(job, behaviour)
            if job.is_settled:
                continue
            if job.status == "Done":
                delivered.append(job)
            elif held_status is not None:
                held.append(job)
                if job.status != held_status:
                    changed.append(self._set(job, held_status))
            elif job.number in self._released:
                waiting.append(job)
            elif job.status != RUNNING[-1]:
                index = RUNNING.index(job.status) if job.status in RUNNING else 0
                changed.append(self._set(job, RUNNING[index + 1]))
                waiting.append(job)
            elif (fails_with := _get_outcome(job).fails_with or behaviour.job_fails_with) is not None:
                changed.append(self._set(job, "Failed", reason=fails_with))
            elif behaviour.delivery_delay:
                changed.append(self._set(job, "Done"))
                waiting.append(job)
            else:
                delivered.append(job)
        self._save(changed)
        self._released.difference_update(numbers)
        self._held.update(job.number for job in held)
        self._plan(waiting)
        self._start_deliveries(delivered)

    def _start_deliveries(self, jobs: Sequence[JobRow]) -> None:
        """Deliver jobs for the Jobs page in one batch, as they take no time, and others each in a task of its own."""
        to_page = [job.number for job in jobs if job.destination["type"] == "aws"]
        batches = [[job.number] for job in jobs if job.destination["type"] != "aws"]
        for numbers in [to_page, *batches] if to_page else batches:
            slot = self._page_slots if numbers is to_page else nullcontext()
            task = asyncio.create_task(self._deliver(numbers, slot))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, numbers: Sequence[int], slot: AbstractAsyncContextManager[None]) -> None:
        async with slot:
            try:
                jobs, behaviour = self._store.find_jobs(numbers), self._store.behaviour
                # In a thread: a timeframe of centuries takes seconds, and requests are answered meanwhile.
                files = await asyncio.to_thread(self._render, jobs, behaviour)
                started = time.monotonic()
                locations: dict[DeliveredFile, str] = {}
                for job, file in zip(jobs, files, strict=True):
                    await self._deliver_file(job, file, locations)
                self._save(jobs)
            except Exception:
                log.exception("%d jobs could not be delivered; retrying", len(numbers))
                self._retry(numbers)
                return
            await yield_to_requests(started)

    def _render(self, jobs: Sequence[JobRow], behaviour: Behaviour) -> Sequence[DeliveredFile | Exception]:
        """Return the files of jobs, or the errors of the sandbox.

        Equal files of a batch, as bulk jobs have them, are one file on the Jobs page; they also expire together.
        """
        today = self._account.today(self._store.clock.now())
        files: list[DeliveredFile | Exception] = []
        known: dict[tuple[str, Rendered], DeliveredFile] = {}
        for job in jobs:
            content = Content(self._account, behaviour, today, frozenset(_get_outcome(job).missing_days))
            timestamp = datetime.fromtimestamp(job.created_at, UTC).strftime("%Y%m%d%H%M%S")
            names = {"name": job.name, "job_id": job.id, "timestamp": timestamp}
            try:
                name = name_file(behaviour.file_name, job.request, **names)
                rendered = KINDS[job.kind].render(job.request, content)
                file = DeliveredFile(name, rendered, job.id, behaviour.write_seconds)
                files.append(known.setdefault((name, rendered), file))
            except Exception as error:  # noqa: BLE001 - it fails one job only
                files.append(error)
        return files

    async def _deliver_file(
        self, job: JobRow, file: DeliveredFile | Exception, locations: dict[DeliveredFile, str]
    ) -> None:
        """Deliver the file of a job, and set the status that the job has then.

        :param locations: those of the files of the batch that have been delivered.
        """
        try:
            if isinstance(file, Exception):
                raise file
            if file not in locations:
                destination = {**job.destination, **self._store.read_secrets(job)}
                locations[file] = await deliver(destination, file, self._site)
        except DeliveryError as error:
            # Done is final: if the delivery fails afterwards, only the control API has the reason.
            self._set(job, "Done" if job.has_ended else "Failed", reason=str(error))
        except Exception:
            log.exception("Job %s failed because of an internal error of the sandbox", job.id)
            self._set(job, "Failed", reason="Internal error of the sandbox; see its log.")
        else:
            self._set(job, "Done", delivered_to=locations[file])

    def _set(self, job: JobRow, status: str, reason: str | None = None, delivered_to: str | None = None) -> JobRow:
        """Set the status of a job, which remains to be saved."""
        now = self._store.clock.now()
        job.status, job.reason, job.delivered_to = status, reason, delivered_to
        if status not in ("Scheduled", "Pending") and job.started_at is None:
            job.started_at = now
        if status in ("Done", "Failed") and job.ended_at is None:
            job.ended_at = now
        return job

    def _save(self, jobs: Sequence[JobRow]) -> None:
        if not jobs:
            return
        self._store.change_jobs(jobs)
        if len(jobs) > _LOGGED_JOBS:
            for status, count in Counter(job.status for job in jobs).items():
                log.info("%d jobs are %s", count, status)
            return
        for job in jobs:
            log.info("Job %s is %s%s", job.id, job.status, f": {job.reason}" if job.reason else "")


async def yield_to_requests(started: float) -> None:
    """Sleep for as long as the work has taken that started at a time, so that requests get half of the time."""
    await asyncio.sleep(time.monotonic() - started)


def _get_outcome(job: JobRow | JobState) -> Outcome:
    return Outcome.model_validate(job.fate) if job.fate else _NO_OUTCOME


def _get_held_status(job: JobRow | JobState, behaviour: Behaviour) -> str | None:
    """Return the status to hold a job in, or None; a job that has passed that status is not moved back."""
    held = _get_outcome(job).stays_in or behaviour.job_stays_in
    if held in RUNNING and job.status in RUNNING and RUNNING.index(job.status) > RUNNING.index(held):
        return None
    return held
