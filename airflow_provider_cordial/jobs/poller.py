"""Poller: polls jobs for all subscriptions of one connection in an event loop, so that one request serves many waits.

``jobs.schedule`` decides when a job is polled, and ``jobs.listing`` whether through the list or by a request of its
own, a lookup. A job that the list does not contain is looked up, and so is each job at its deadline and about once an
hour, so an incomplete or outdated list loses no wait. All requests share one rate limit (``client.rate_limiter``).

Airflow 3.3 has shared streams, which also let many triggers share one poll. They are not used: they wake every trigger
for each snapshot, do not support lookups, end all waits when the poll ends, and do not exist in earlier versions or in
``dag.test``. A poller works the same everywhere (``make bench-wait`` compares both).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

from airflow_provider_cordial.client import metrics
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.job import Job, JobStatus, parse_ids, parse_status
from airflow_provider_cordial.client.pages import JobPages
from airflow_provider_cordial.exceptions import (
    AccessError,
    CordialError,
    RateLimitError,
    TransientError,
)
from airflow_provider_cordial.jobs.account import Account
from airflow_provider_cordial.jobs.listing import ListingStrategy
from airflow_provider_cordial.jobs.schedule import SHORTEST_PAUSE, Schedule, compute_pause, jitter
from airflow_provider_cordial.jobs.subscription import Subscription

#: Lookups in flight at once.
MAX_CONCURRENT_LOOKUPS = 8

#: Seconds until a crashed poller is restarted: the first pause, and the longest, which also is how long a poller must
#: run for the next pause to be the first again.
FIRST_RESTART_PAUSE, LONGEST_RESTART_PAUSE = 1.0, 30.0

#: Seconds without a page after which due jobs are looked up although a listing is in progress.
LISTING_PATIENCE = 5.0

log = logging.getLogger(__name__)


class Poller:
    """Polls jobs for all subscriptions of one connection; a task of its own runs the poll loop and restarts it."""

    def __init__(self, cordial_conn_id: str) -> None:
        self.cordial_conn_id = cordial_conn_id
        self._loop = asyncio.get_running_loop()
        #: Resolves once the connection is read.
        self.connection: asyncio.Future[CordialConnection] = self._loop.create_future()
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._schedule = Schedule()
        self._strategy = ListingStrategy()
        # A new key may have the permission to read the list.
        self._account = Account(cordial_conn_id, on_change=self._strategy.enable)
        self._wake_up = asyncio.Event()
        #: The listing in progress, and when it made progress last.
        self._listing: asyncio.Task[None] | None = None
        self._listed_at = 0.0
        self._lookups: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)
        # An empty context: log lines of the poller do not belong to the task that happened to start it.
        self._supervisor = self._loop.create_task(
            self._supervise(), name=f"cordial-supervisor[{cordial_conn_id}]", context=contextvars.Context()
        )

    @property
    def is_idle(self) -> bool:
        return not self._subscriptions

    def add(self, job_id: str, poll_interval: float, deadline: float) -> Subscription:
        """Subscribe to a job.

        :param deadline: seconds since the epoch.
        """
        now = self._loop.time()
        subscription = Subscription(job_id, poll_interval, now + deadline - time.time(), now)
        self._subscriptions.setdefault(job_id, []).append(subscription)
        metrics.gauge("waits", len(self._subscriptions), connection=self.cordial_conn_id)
        self._poll_at(subscription, subscription.due)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Close a subscription."""
        subscription.is_open = False
        others = self._subscriptions[subscription.job_id]
        others.remove(subscription)
        if not others:
            del self._subscriptions[subscription.job_id]
            self._strategy.forget(subscription.job_id)
            metrics.gauge("waits", len(self._subscriptions), connection=self.cordial_conn_id)

    def stop(self) -> None:
        """End the poller after its last subscription."""
        self._supervisor.cancel()
        if not self.connection.done():
            self.connection.cancel()

    async def _supervise(self) -> None:
        """Run the poll loop, and restart it when it crashes, later each time."""
        pause = FIRST_RESTART_PAUSE
        while True:
            started = self._loop.time()
            polling = self._loop.create_task(self._run(), name=f"cordial-poller[{self.cordial_conn_id}]")
            try:
                await asyncio.wait([polling])
            finally:
                polling.cancel()
            error = None if polling.cancelled() else polling.exception()
            if isinstance(error, CordialError) and not self.connection.done():
                self.connection.set_exception(error)
                # Mark it as retrieved: there may be no subscriber left.
                self.connection.exception()
                return
            # Only the class: the text may contain a secret.
            reason = type(error).__name__ if error else "cancelled"
            jobs = len(self._subscriptions)
            log.error("Poller for %s crashed (%s) with %d jobs; restarting", self.cordial_conn_id, reason, jobs)
            if self._loop.time() - started >= LONGEST_RESTART_PAUSE:
                pause = FIRST_RESTART_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RESTART_PAUSE)

    async def _run(self) -> None:
        connection = await self._account.open()
        if not self.connection.done():
            self.connection.set_result(connection)
        self._strategy.enable()
        log.info("Polling %s for connection %s", connection.base_url, self.cordial_conn_id)
        try:
            await self._poll()
        finally:
            requests = [*self._lookups, *([self._listing] if self._listing else [])]
            for request in requests:
                request.cancel()
            try:
                await asyncio.gather(*requests, return_exceptions=True)
            finally:
                self._listing = None
                await self._account.close()

    async def _poll(self) -> None:
        self._schedule.rebuild(chain.from_iterable(self._subscriptions.values()))
        while True:
            now = self._loop.time()
            due = self._schedule.take_due(now)
            if not due:
                await self._sleep_until_due()
                continue
            if not self._is_listing() and self._strategy.should_list(due, self._subscriptions):
                self._listed_at = now
                self._listing = self._loop.create_task(self._list(), name=f"cordial-listing[{self.cordial_conn_id}]")
            await self._wait_for_listing()
            for job_id in due:
                if self._needs_lookup(job_id, now):
                    await self._start_lookup(job_id)

    def _is_listing(self) -> bool:
        """Return whether a listing is in progress; an unexpected error of the last one ends the poll loop."""
        if self._listing is not None and self._listing.done():
            listing, self._listing = self._listing, None
            listing.result()
        return self._listing is not None

    def _poll_at(self, subscription: Subscription, due: float) -> None:
        if self._schedule.add(subscription, due):
            self._wake_up.set()

    def _needs_lookup(self, job_id: str, taken: float) -> bool:
        """Return whether a due job is to be looked up.

        :param taken: when it was taken from the schedule; a listing with it has scheduled it again since then.
        """
        now = self._loop.time()
        subscriptions = self._subscriptions.get(job_id, ())
        return any(waiter.due <= taken or waiter.list_trusted_until <= now for waiter in subscriptions)

    async def _sleep_until_due(self) -> None:
        self._wake_up.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._schedule.next_due):
                await self._wake_up.wait()

    async def _wait_for_listing(self) -> None:
        """Wait for the listing in progress, if any; not if its next page is overdue: due jobs are looked up instead."""
        while self._is_listing() and self._listing is not None:
            left = self._listed_at + LISTING_PATIENCE - self._loop.time()
            if left <= 0:
                return
            await asyncio.wait([self._listing], timeout=left)

    async def _list(self) -> None:
        """Poll jobs through the list as long as it is worthwhile."""
        started, factor = self._loop.time(), jitter()
        listing = self._strategy.start(self._pollable_jobs(started))
        pages = JobPages(stop_at_short_page=True)
        try:
            while listing.missing and listing.is_worthwhile and pages.next_page is not None:
                rows = pages.add(await self._page(pages.next_page))
                if not listing.pages and rows and not any(map(parse_ids, rows)):
                    self._disable_list("its rows have no ids")
                    return
                listing.add_page(self._publish_rows(rows, started, factor))
                self._listed_at = self._loop.time()
        except TransientError as error:
            failure = error
            if self._strategy.fail(is_slow=isinstance(error, RateLimitError)):
                for job_id in listing.missing:
                    self._publish(job_id, "", lambda: failure, self._loop.time(), factor)
        except CordialError as error:
            if isinstance(error, AccessError) or not error.is_from_cordial:
                # A key is rotated, or a firewall rejects requests for now; the list itself may be usable.
                self._strategy.fail(is_slow=True)
            else:
                self._disable_list(error.message)
        else:
            self._strategy.finish(listing, self._subscriptions)

    def _pollable_jobs(self, now: float) -> Iterator[str]:
        """Yield the jobs with a subscription whose first poll is not in the future."""
        for job_id, subscriptions in self._subscriptions.items():
            if any(subscription.first_poll <= now for subscription in subscriptions):
                yield job_id

    async def _page(self, page: int) -> list[Mapping[str, Any]]:
        try:
            return await self._account.request(lambda client: client.list_page(page))
        except RateLimitError as error:
            # The rate limiter pauses, and then the same page is requested once more. If it is rejected again, jobs are
            # polled one by one: limits differ by endpoint.
            log.warning("Rate limited on %s; polling paused: %s", self.cordial_conn_id, error.message)
        return await self._account.request(lambda client: client.list_page(page))

    def _disable_list(self, reason: str) -> None:
        self._strategy.disable()
        log.info("Cannot use the job list of %s (%s); polling jobs one by one", self.cordial_conn_id, reason)

    def _publish_rows(self, rows: Sequence[Mapping[str, Any]], started: float, factor: float) -> set[str]:
        """Publish the jobs of a page to their subscriptions, and return these jobs."""
        found: set[str] = set()
        for row in rows:
            status = parse_status(row.get("status"))
            for job_id in parse_ids(row):
                if status and job_id in self._subscriptions:
                    found.add(job_id)
                    self._publish(job_id, status, partial(Job.from_record, row, job_id), started, factor)
        self._strategy.record_listed(found)
        return found

    async def _start_lookup(self, job_id: str) -> None:
        await self._slots.acquire()
        lookup = asyncio.create_task(self._look_up(job_id))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._lookups.discard)
        lookup.add_done_callback(lambda _: self._slots.release())

    async def _look_up(self, job_id: str) -> None:
        if job_id not in self._subscriptions:
            return
        self._strategy.record_lookup(job_id)
        result: Job | CordialError
        try:
            result = await self._account.request(lambda client: client.get_job(job_id))
        except CordialError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - it concerns this job only; its text may contain a secret
            log.error("Polling job %s failed: %s", job_id, type(error).__name__)
            result = CordialError(f"Waiting for job {job_id} failed in the triggerer: {type(error).__name__}.")
        self._strategy.record_lookup_result(is_failed=isinstance(result, CordialError) and _is_temporary(result))
        now = self._loop.time()
        for subscription in self._subscriptions.get(job_id, ()):
            subscription.trust_list(now)
        status = result.status if isinstance(result, Job) else ""
        self._publish(job_id, status, lambda: result, now, jitter(), is_lookup=True)

    def _publish(
        self,
        job_id: str,
        status: str,
        result: Callable[[], Job | CordialError],
        moment: float,
        factor: float,
        *,
        is_lookup: bool = False,
    ) -> None:
        """Publish a result to the subscriptions for which it is new, and schedule their next poll.

        :param status: empty if the result is an error.
        :param result: builds the result, which is rarely needed.
        :param moment: when the poll started.
        :param factor: of the pause.
        """
        now = self._loop.time()
        for subscription in self._subscriptions.get(job_id, ()):
            is_late = now >= subscription.deadline
            # At the deadline only a lookup is final, and it follows.
            is_final = is_lookup or status in (JobStatus.DONE, JobStatus.FAILED)
            if now < subscription.first_poll or (is_late and not is_final):
                continue
            pause = compute_pause(moment - subscription.started, subscription.poll_interval)
            if not status or status != subscription.status or is_late:
                subscription.status = status
                published = result()
                subscription.publish(published)
                if isinstance(published, RateLimitError):
                    pause = 0.0
                elif isinstance(published, CordialError) and _is_temporary(published):
                    pause = min(pause, SHORTEST_PAUSE)
            due = moment + pause * factor
            self._poll_at(subscription, due if is_late else min(due, subscription.deadline))


def _is_temporary(error: CordialError) -> bool:
    """Return whether the next poll may succeed: the job is polled again soon."""
    return isinstance(error, TransientError | AccessError) or not error.is_from_cordial
