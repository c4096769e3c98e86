"""One poller per connection, for all the waits in an event loop: one look at the account serves them all.

A job can be looked at in two ways. A single look costs one request; a walk through the pages of the list costs one a
page, and sees all jobs on them. So single looks are taken until they have cost as much as a walk, and then a walk is:
never more than twice what the cheaper way alone would have cost, however many waits there are and however they began.
What a walk did not find is looked at singly, and so is each job at its deadline and about once an hour: a list that
tells not everything or old news loses no wait. Rows without ids, or a list that may not be read, leave single looks
only. All requests go through one budget (``hooks.budget``).

Airflow 3.3 has shared streams, which give many triggers one poll too. They are not used: they wake every trigger for
each snapshot, know nothing of single looks, end all waits when the poll ends, and are in no earlier Airflow and not in
``dag.test``. This works the same everywhere (``make bench-wait`` compares them).
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.async_client import AsyncCordialClient
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.job import Job, JobStatus, parse_ids
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    CordialError,
    PermissionDeniedError,
    RateLimitError,
    TransientError,
)
from airflow_provider_cordial.hooks.cordial import read_connection
from airflow_provider_cordial.jobs.waiting import SHORTEST_PAUSE, jitter, pause_after

#: How many walks in a row may fail before single looks are taken instead.
WALKS_TRIED = 3

#: For how long, about, what the list says of a job is believed without a single look, in seconds.
RESYNC_INTERVAL = 3600.0

#: How many single looks are on their way at once.
MAX_CONCURRENT_LOOKUPS = 8

#: How long after its deadline a wait still hopes for a last look, in seconds.
FINAL_POLL_GRACE = 15.0

#: Seconds until a poller that died is replaced, and between two readings of a connection that is refused.
RESTART_PAUSE = 1.0
REREAD_PAUSE = 10.0

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Wait:
    """One wait for a job; moments are those of the event loop's clock."""

    __slots__ = (
        "_arrived",
        "_latest",
        "began",
        "believes_until",
        "deadline",
        "due",
        "first",
        "job_id",
        "poll_interval",
        "status",
    )

    def __init__(self, job_id: str, poll_interval: float, deadline: float, now: float) -> None:
        self.job_id = job_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.began = now
        # Nothing is told sooner: the task has just looked, or just submitted. And Airflow fails a task whose trigger
        # fires before the scheduler has heard that the task deferred, which takes some seconds.
        self.first = self.due = max(now, min(now + pause_after(0, poll_interval) * jitter(), deadline))
        self.status = ""
        self.believe(now)
        self._latest: Job | CordialError | None = None
        self._arrived: asyncio.Future[None] | None = None

    def believe(self, now: float) -> None:
        """Take what the list says for true from now on, for some time, but not at the deadline."""
        self.believes_until = min(now + RESYNC_INTERVAL * random.uniform(0.5, 1.5), self.deadline)  # noqa: S311

    def tell(self, look: Job | CordialError) -> None:
        """Hand over what was seen, in the place of what was not yet taken."""
        self._latest = look
        if self._arrived and not self._arrived.done():
            self._arrived.set_result(None)

    async def news(self) -> Job | CordialError | None:
        """Return the next look that says something new, or None where none came by the deadline."""
        loop = asyncio.get_running_loop()
        if self._latest is None:
            self._arrived = loop.create_future()
            try:
                async with asyncio.timeout_at(max(self.deadline, self.first) + FINAL_POLL_GRACE):
                    await self._arrived
            except TimeoutError:
                return None
        look, self._latest = self._latest, None
        return look


class Poller:
    """Looks at jobs for all waits of one connection, in a task of its own."""

    def __init__(self, cordial_conn_id: str) -> None:
        self.cordial_conn_id = cordial_conn_id
        self._loop = asyncio.get_running_loop()
        #: The connection, once it is read.
        self.connection: asyncio.Future[CordialConnection] = self._loop.create_future()
        self._waits: dict[str, list[Wait]] = {}
        self._by_due: list[tuple[float, int, Wait]] = []
        self._count = 0
        self._sooner = asyncio.Event()
        self._looks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)
        self._read_at = 0.0
        self._reading = asyncio.Lock()
        # What is known of the list.
        self._list_helps = True
        self._walk_costs = 1
        self._walks_failed = 0
        self._spent_singly = 0
        self._unlisted: set[str] = set()
        self._start()

    @property
    def is_idle(self) -> bool:
        return not self._waits

    def join(self, job_id: str, poll_interval: float, deadline: float) -> Wait:
        """Add a wait.

        :param deadline: seconds since the epoch.
        """
        now = self._loop.time()
        wait = Wait(job_id, poll_interval, now + deadline - time.time(), now)
        self._waits.setdefault(job_id, []).append(wait)
        self._schedule(wait, wait.due)
        return wait

    def leave(self, wait: Wait) -> None:
        """Remove a wait; its job is not looked at any more."""
        others = self._waits[wait.job_id]
        others.remove(wait)
        if not others:
            del self._waits[wait.job_id]
            self._unlisted.discard(wait.job_id)

    def stop(self) -> None:
        """End the task; there is no wait left."""
        self._task.cancel()

    def _start(self) -> None:
        # Without a context: what is logged here belongs to no single task.
        self._task = self._loop.create_task(
            self._run(), name=f"cordial-poller[{self.cordial_conn_id}]", context=contextvars.Context()
        )
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if not self.connection.done():
            if error is None:
                self.connection.cancel()
            else:
                self.connection.set_exception(error)
                # There may be nobody left to hear it.
                self.connection.exception()
        elif self._waits:
            # Only the kind: the text may hold anything.
            log.error(
                "The poller of %s died of %s with %d jobs to look at; starting another",
                self.cordial_conn_id,
                type(error).__name__ if error else "a cancellation",
                len(self._waits),
            )
            self._loop.call_later(RESTART_PAUSE, self._start_again)

    def _start_again(self) -> None:
        if self._waits:
            self._start()

    async def _run(self) -> None:
        connection = await read_connection(self.cordial_conn_id)
        self._read_at = self._loop.time()
        if not self.connection.done():
            self.connection.set_result(connection)
        self._client = AsyncCordialClient(connection)
        log.info("Polling %s for the waits on %s", connection.base_url, self.cordial_conn_id)
        try:
            await self._poll()
        finally:
            for look in self._looks:
                look.cancel()
            await asyncio.gather(*self._looks, return_exceptions=True)
            await self._client.close()

    async def _poll(self) -> None:
        # One that died may have taken some out.
        self._by_due = []
        for waits in self._waits.values():
            for wait in waits:
                self._schedule(wait, wait.due)
        while True:
            due = self._take_due()
            if not due:
                await self._until_next()
                continue
            seen = await self._walk() if self._walk_pays(due) else set()
            for job_id in due:
                if job_id not in seen or self._doubts(job_id):
                    await self._look_soon(job_id)

    def _schedule(self, wait: Wait, due: float) -> None:
        wait.due = due
        self._count += 1
        entry = (due, self._count, wait)
        heapq.heappush(self._by_due, entry)
        if self._by_due[0] is entry:
            self._sooner.set()

    def _take_due(self) -> list[str]:
        """Take the jobs that are to be looked at now, the longest due first."""
        now = self._loop.time()
        due: dict[str, None] = {}
        while self._by_due and self._by_due[0][0] <= now:
            moment, _, wait = heapq.heappop(self._by_due)
            # Others were scheduled anew, or have left.
            if moment == wait.due and wait in self._waits.get(wait.job_id, ()):
                due[wait.job_id] = None
        return list(due)

    def _doubts(self, job_id: str) -> bool:
        now = self._loop.time()
        return any(wait.believes_until <= now for wait in self._waits.get(job_id, ()))

    async def _until_next(self) -> None:
        self._sooner.clear()
        next_due = self._by_due[0][0] if self._by_due else None
        with suppress(TimeoutError):
            async with asyncio.timeout_at(next_due):
                await self._sooner.wait()

    def _walk_pays(self, due: list[str]) -> bool:
        listed = sum(job_id not in self._unlisted for job_id in due)
        could_be_found = len(self._waits) - len(self._unlisted)
        return (
            self._list_helps
            and could_be_found > self._walk_costs
            and self._spent_singly + listed > self._walk_costs
            and listed > 0
        )

    async def _walk(self) -> set[str]:
        """Look at the pages of the list for as long as that is cheaper than single looks; return the jobs seen."""
        began, factor = self._loop.time(), jitter()
        missing = {
            job_id
            for job_id, waits in self._waits.items()
            if job_id not in self._unlisted and any(wait.first <= began for wait in waits)
        }
        seen: set[str] = set()
        page = in_vain = size = 0
        before: list[Mapping[str, Any]] = []
        self._spent_singly = 0
        try:
            while missing and in_vain < len(missing) and page < api.MAX_PAGES:
                page += 1
                rows = await self._page(page)
                # The same page again means that the page number is not heeded.
                if not rows or rows == before:
                    break
                if page == 1 and not any(parse_ids(row) for row in rows):
                    self._without_list("its rows carry no ids")
                    return seen
                found = self._saw_rows(rows, began, factor)
                in_vain = 0 if found & missing else in_vain + 1
                missing -= found
                seen |= found
                before, size = rows, max(size, len(rows))
                if len(rows) < size:
                    break
        except TransientError as error:
            trouble = error
            self._walks_failed += 1
            if self._walks_failed < WALKS_TRIED:
                for job_id in missing:
                    self._saw(job_id, "", lambda: trouble, self._loop.time(), factor)
                return seen | missing
            # Perhaps it is the list alone: each job is looked at singly, and the list tried less and less often.
            self._walk_costs = min(api.MAX_PAGES, 2 * self._walk_costs)
            return seen
        except CordialError as error:
            self._without_list(str(error))
            return seen
        self._walks_failed = 0
        self._walk_costs = page
        self._unlisted |= missing & self._waits.keys()
        return seen

    async def _page(self, page: int) -> list[Mapping[str, Any]]:
        while True:
            try:
                return await self._ask(lambda client: client.list_page(page))
            except RateLimitError as error:
                # The budget rests, and then the same page is asked for again.
                log.warning("All waits on %s rest: %s", self.cordial_conn_id, error)

    def _without_list(self, why: str) -> None:
        self._list_helps = False
        log.info("The list of jobs does not help on %s, so each job is asked for: %s", self.cordial_conn_id, why)

    def _saw_rows(self, rows: list[Mapping[str, Any]], began: float, factor: float) -> set[str]:
        """Tell the waits of the jobs on a page, and return these jobs."""
        found: set[str] = set()
        for row in rows:
            status = row.get("status")
            for job_id in parse_ids(row):
                if isinstance(status, str) and job_id in self._waits:
                    found.add(job_id)
                    self._saw(job_id, status, partial(Job.from_record, row, job_id), began, factor)
        self._unlisted -= found
        return found

    async def _look_soon(self, job_id: str) -> None:
        await self._slots.acquire()
        look = asyncio.create_task(self._look_at(job_id))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)
        look.add_done_callback(lambda _: self._slots.release())

    async def _look_at(self, job_id: str) -> None:
        if job_id not in self._waits:
            return
        if job_id not in self._unlisted:
            self._spent_singly += 1
        look: Job | CordialError
        try:
            look = await self._ask(lambda client: client.get_job(job_id))
        except CordialError as error:
            look = error
        except Exception as error:  # noqa: BLE001 - it concerns this job only; its text may hold a secret
            log.error("Looking at job %s failed: %s", job_id, type(error).__name__)
            look = CordialError(f"Waiting for job {job_id} failed in the triggerer: {type(error).__name__}.")
        now = self._loop.time()
        for wait in self._waits.get(job_id, ()):
            wait.believe(now)
        self._saw(job_id, look.status if isinstance(look, Job) else "", lambda: look, now, jitter(), singly=True)

    def _saw(
        self,
        job_id: str,
        status: str,
        look: Callable[[], Job | CordialError],
        moment: float,
        factor: float,
        *,
        singly: bool = False,
    ) -> None:
        """Tell the waits of a job what they do not know yet, and schedule the next look.

        :param status: empty where the look is an error.
        :param factor: of the pause.
        """
        now = self._loop.time()
        for wait in self._waits.get(job_id, ()):
            is_late = now >= wait.deadline
            # What is heard last is heard from a single look, which comes.
            if now < wait.first or (is_late and not singly and status not in (JobStatus.DONE, JobStatus.FAILED)):
                continue
            pause = pause_after(moment - wait.began, wait.poll_interval)
            if not status or status != wait.status or is_late:
                wait.status = status
                news = look()
                wait.tell(news)
                if isinstance(news, RateLimitError):
                    pause = 0.0
                elif isinstance(news, TransientError):
                    pause = min(pause, SHORTEST_PAUSE)
            due = moment + pause * factor
            self._schedule(wait, due if is_late else min(due, wait.deadline))

    async def _ask(self, call: Callable[[AsyncCordialClient], Awaitable[_T]]) -> _T:
        client = self._client
        try:
            return await call(client)
        except (AuthenticationError, PermissionDeniedError):
            if not await self._reconnected(client):
                raise
        return await call(self._client)

    async def _reconnected(self, refused: AsyncCordialClient) -> bool:
        """Read the connection again: keys are replaced by hand, and this poller may be older than its key."""
        async with self._reading:
            if self._client is not refused:
                return True
            if self._loop.time() - self._read_at < REREAD_PAUSE:
                return False
            connection = await read_connection(self.cordial_conn_id)
            self._read_at = self._loop.time()
            if connection == refused.connection:
                return False
            log.info("The connection %s has changed; going on with what it is now", self.cordial_conn_id)
            self._client = AsyncCordialClient(connection)
            # The other key may read the list.
            self._list_helps = True
            await refused.close()
            return True


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = WeakKeyDictionary()


@asynccontextmanager
async def joined(
    cordial_conn_id: str, job_id: str, *, poll_interval: float, deadline: float
) -> AsyncIterator[tuple[Wait, CordialConnection]]:
    """Wait for a job together with all other waits of this event loop on the same connection.

    :param poll_interval: seconds, at most, between two looks at the job.
    :param deadline: seconds since the epoch.
    :raises CordialError: the connection is not as it should be.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(cordial_conn_id)
    if poller is None:
        poller = pollers[cordial_conn_id] = Poller(cordial_conn_id)
    wait = poller.join(job_id, poll_interval, deadline)
    try:
        yield wait, await asyncio.shield(poller.connection)
    finally:
        poller.leave(wait)
        if poller.is_idle:
            if pollers.get(cordial_conn_id) is poller:
                del pollers[cordial_conn_id]
            poller.stop()
