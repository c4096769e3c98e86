"""One poller for all waits of a connection, against the sandbox: its requests, its results, and its faults."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from airflow_provider_cordial._compat import AirflowNotFoundException
from airflow_provider_cordial.client import async_client
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
)
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.jobs import account, poller, subscription
from airflow_provider_cordial.jobs.events import parse_event
from airflow_provider_cordial.triggers.job import JobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import SetConnection

Event = dict[str, Any]


async def event(
    job_id: str, poll_interval: float = 0.3, seconds: float = 30, conn_id: str = "cordial_default"
) -> Event:
    """Wait for one job as the triggerer does, and return the event."""
    (fired,) = [one.payload async for one in JobTrigger(conn_id, job_id, poll_interval, time.time() + seconds).run()]
    result: Event = fired
    return result


async def events(job_ids: Sequence[str], **options: Any) -> list[Event]:
    return await asyncio.gather(*(event(job_id, **options) for job_id in job_ids))


def all_done(found: Sequence[Event], job_ids: Sequence[str]) -> bool:
    return [parse_event(one, job_id).id for one, job_id in zip(found, job_ids, strict=True)] == list(job_ids)


def requests_of(sandbox: SandboxProcess, kind: str) -> list[dict[str, Any]]:
    return [request for request in sandbox.control.requests() if request["request"] == kind]


def connect(
    set_connection: SetConnection, sandbox: SandboxProcess, conn_id: str = "cordial_default", **extra: Any
) -> None:
    set_connection(conn_id, conn_type="cordial", host=sandbox.url, password=sandbox.api_key, extra=extra)


#: What Airflow raises if its metadata database cannot be reached, and what a secrets backend may raise.
UNREADABLE = [
    AirflowNotFoundException("The conn_id `cordial_default` isn't defined"),
    RuntimeError("password=hunter22"),
]


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were read."""
    looked_up: list[str] = []
    real = CordialHook.get_connection

    def counting(conn_id: str) -> Any:
        looked_up.append(conn_id)
        return real(conn_id)

    monkeypatch.setattr(CordialHook, "get_connection", staticmethod(counting))
    return looked_up


def test_requests_do_not_grow_with_the_waits(cordial: SandboxProcess, lookups: list[str]) -> None:
    for waits in (10, 90):
        cordial.control.reset()
        lookups.clear()
        job_ids = cordial.control.add_jobs(waits, shortest=2.0, longest=2.0)
        started = time.monotonic()
        assert all_done(asyncio.run(events(job_ids)), job_ids)
        polls = (time.monotonic() - started) / 0.27 + 1
        requests = cordial.control.requests()
        # A listing costs one page here, so one lookup may precede each. One by one, there would be `waits` per poll.
        assert len(requests) <= 2 * polls + 2
        assert {request["request"] for request in requests} <= {"list_jobs", "get_job"}
        assert len({request["client_port"] for request in requests}) == 1
        assert lookups == ["cordial_default"]


def test_waits_on_many_pages_all_end(cordial: SandboxProcess) -> None:
    job_ids = cordial.control.add_jobs(450, shortest=0.5, longest=3.0)
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    assert len(requests_of(cordial, "get_job")) < 45


def test_an_incomplete_list_loses_no_wait(cordial: SandboxProcess) -> None:
    cordial.control.behaviour(list_tells=20)
    job_ids = cordial.control.add_jobs(40, shortest=1.0, longest=1.0)
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    looked_up = {request["path"].rpartition("/")[2] for request in requests_of(cordial, "get_job")}
    assert looked_up >= set(job_ids[:20])
    # A listing costs one page here, so one lookup may precede each.
    assert len(looked_up) - 20 <= len(requests_of(cordial, "list_jobs"))


@pytest.mark.parametrize("how", ["no ids", "forbidden", "not a list", "same page", "empty", "always 503"])
def test_jobs_are_polled_one_by_one_without_a_usable_list(cordial: SandboxProcess, how: str) -> None:
    match how:
        case "no ids":
            cordial.control.behaviour(record_id=None)
        case "forbidden":
            cordial.control.fault("list_jobs", "answer", status=403)
        case "not a list":
            cordial.control.fault("list_jobs", "answer", status=200, body='{"jobs": []}')
        case "same page":
            body = json.dumps([{"status": "Done", "_id": "foreign"}])
            cordial.control.fault("list_jobs", "answer", status=200, body=body)
        case "empty":
            cordial.control.fault("list_jobs", "answer", status=404)
        case "always 503":
            cordial.control.fault("list_jobs", "answer", status=503)
    job_ids = cordial.control.add_jobs(6, shortest=0.5, longest=1.0)
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    assert 1 <= len(requests_of(cordial, "list_jobs")) <= len(job_ids)


@pytest.mark.parametrize("when", ["at the deadline", "periodically"])
def test_an_outdated_list_loses_no_wait(cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    job_ids = cordial.control.add_jobs(4, shortest=0.5, longest=0.5)
    outdated = json.dumps([{"status": "Processing", "_id": job_id} for job_id in job_ids])
    cordial.control.fault("list_jobs", "answer", status=200, body=outdated)
    seconds = 3.0
    if when == "periodically":
        monkeypatch.setattr(subscription, "RESYNC_INTERVAL", 2.0)
        seconds = 30.0
    started = time.monotonic()
    assert all_done(asyncio.run(events(job_ids, seconds=seconds)), job_ids)
    assert time.monotonic() - started < 6


@pytest.mark.parametrize("status", [401, 403])
def test_the_list_is_read_again_after_a_brief_rejection(cordial: SandboxProcess, status: int) -> None:
    cordial.control.fault("list_jobs", "answer", status=status, body='{"error": "no"}', times=1)
    job_ids = cordial.control.add_jobs(40, shortest=4.0, longest=4.0)
    assert all_done(asyncio.run(events(job_ids, poll_interval=1.0)), job_ids)
    statuses = [request["status"] for request in requests_of(cordial, "list_jobs")]
    assert statuses[0] == status
    assert statuses[1:].count(200) >= 1


def test_a_job_behind_many_others_is_looked_up(cordial: SandboxProcess) -> None:
    job_ids = cordial.control.add_jobs(3, shortest=1.0, longest=1.0)
    cordial.control.add_jobs(900, shortest=60.0, longest=60.0)
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    # A page costs as much as a lookup, so more pages than waits are a waste.
    assert 1 <= len(requests_of(cordial, "list_jobs")) <= 3


def test_the_order_of_the_list_does_not_matter(cordial: SandboxProcess) -> None:
    cordial.control.behaviour(list_order="oldest", max_per_page=10)
    cordial.control.add_jobs(25, shortest=60.0, longest=60.0)
    job_ids = cordial.control.add_jobs(30, shortest=1.0, longest=1.5)
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    assert len(requests_of(cordial, "get_job")) < 30


def test_lookups_respect_the_rate_of_the_account(cordial: SandboxProcess, set_connection: SetConnection) -> None:
    cordial.control.behaviour(record_id=None)
    for conn_id in ("one", "two"):
        connect(set_connection, cordial, conn_id, requests_per_minute=600)
    job_ids = cordial.control.add_jobs(20, shortest=0.0, longest=0.0)

    async def on_two_connections() -> list[Event]:
        half = len(job_ids) // 2
        found = await asyncio.gather(events(job_ids[:half], conn_id="one"), events(job_ids[half:], conn_id="two"))
        return [*found[0], *found[1]]

    assert all_done(asyncio.run(on_two_connections()), job_ids)
    moments = sorted(request["time"] for request in cordial.control.requests())
    # On a loaded machine requests arrive somewhat later than they are sent.
    assert (moments[-1] - moments[0]) / (len(moments) - 1) > 0.09


def test_a_429_pauses_all_requests_for_its_retry_after(cordial: SandboxProcess) -> None:
    job_ids = cordial.control.add_jobs(20, shortest=1.0, longest=1.0)
    cordial.control.fault("any", "answer", status=429, headers={"Retry-After": "2"}, times=1)
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    requests = cordial.control.requests()
    (rejected,) = [number for number, request in enumerate(requests) if request["status"] == 429]
    assert requests[rejected + 1]["time"] - requests[rejected]["time"] >= 1.9


def test_a_reported_limit_is_never_exceeded(cordial: SandboxProcess) -> None:
    cordial.control.behaviour(rate_limit=60, rate_limit_headers="always")
    job_ids = cordial.control.add_jobs(150, shortest=1.0, longest=4.0)
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    assert {request["status"] for request in cordial.control.requests()} == {200}
    assert len(cordial.control.requests()) < 30


@pytest.mark.parametrize("kind", ["list_jobs", "get_job"])
@pytest.mark.parametrize("effect", ["reset", "truncate", "answer"])
def test_a_temporary_failure_ends_no_wait(cordial: SandboxProcess, kind: str, effect: str) -> None:
    cordial.control.behaviour(record_id="_id" if kind == "list_jobs" else None)
    job_ids = cordial.control.add_jobs(5, shortest=0.5, longest=0.5)
    cordial.control.fault(kind, effect, times=2)
    assert all_done(asyncio.run(events(job_ids)), job_ids)


def test_late_and_early_ends_do_not_affect_other_waits(cordial: SandboxProcess, set_connection: SetConnection) -> None:
    connect(set_connection, cordial, not_found_grace=0.5)
    steady, cancelled, early, late = cordial.control.add_jobs(4, shortest=2.5, longest=2.5)
    cordial.control.behaviour(job_fails_with="Login failed.")
    (failing,) = cordial.control.add_jobs(1, shortest=0.5, longest=0.5)

    async def all_at_once() -> list[Event]:
        waits = [asyncio.create_task(event(job_id)) for job_id in (steady, failing, "unknown")]
        short = asyncio.create_task(event(early, seconds=0.5))
        to_cancel = asyncio.create_task(event(cancelled))
        await asyncio.sleep(1.2)
        cordial.control.behaviour(job_fails_with=None)
        to_cancel.cancel()
        waits.append(asyncio.create_task(event(late)))
        return [*await asyncio.gather(*waits), await short]

    one, two, three, four, five = asyncio.run(all_at_once())
    assert all_done([one, four], [steady, late])
    for fired, error in ((two, JobFailedError), (three, JobNotFoundError), (five, JobTimeoutError)):
        with pytest.raises(error):
            parse_event(fired, fired["job_id"])


def test_two_waits_for_one_job_both_end(cordial: SandboxProcess) -> None:
    (job_id,) = cordial.control.add_jobs(1, shortest=0.5, longest=0.5)
    assert all_done(asyncio.run(events([job_id, job_id])), [job_id, job_id])


async def poller_task() -> asyncio.Task[Any]:
    """Return the poller's task, shortly after its start."""
    await asyncio.sleep(0.7)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("cordial-poller")]
    return task


@pytest.mark.parametrize("how", ["cancelled", "error"])
def test_a_crashed_poller_is_restarted(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    job_ids = cordial.control.add_jobs(5, shortest=1.5, longest=1.5)

    async def crash() -> list[Event]:
        waits = asyncio.create_task(events(job_ids))
        task = await poller_task()
        if how == "cancelled":
            task.cancel()
        else:
            with monkeypatch.context() as broken:
                broken.setattr(poller.Poller, "_sleep_until_due", None)
                await asyncio.wait([task], timeout=5)
        await asyncio.sleep(0.1)
        assert task.done()
        return await waits

    assert all_done(asyncio.run(crash()), job_ids)
    assert "with 5 jobs; restarting" in caplog.text


def test_a_poller_that_crashes_at_every_start_is_restarted_ever_later(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(poller, "FIRST_RESTART_PAUSE", 0.1)
    monkeypatch.setattr(poller, "LONGEST_RESTART_PAUSE", 0.8)
    started: list[float] = []
    real = poller.Poller._poll

    async def crash(self: poller.Poller) -> None:
        started.append(time.monotonic())
        if len(started) == 6:
            # Longer than the longest pause: the next one is the first again.
            await asyncio.wait_for(real(self), 1.0)
        if len(started) > 7:
            await real(self)
        raise RuntimeError

    monkeypatch.setattr(poller.Poller, "_poll", crash)
    job_ids = cordial.control.add_jobs(3, shortest=5.0, longest=5.0)
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    pauses = [later - earlier for earlier, later in itertools.pairwise(started)]
    # Each within 0.35 s on a loaded machine; the seventh includes a second of polling.
    for pause, expected in zip(pauses, [0.1, 0.2, 0.4, 0.8, 0.8, 1.1, 0.2], strict=True):
        assert expected <= pause + 0.01 < expected + 0.35
    assert caplog.text.count("restarting") == 7


def test_no_task_remains_after_the_last_wait(cordial: SandboxProcess) -> None:
    job_ids = cordial.control.add_jobs(3, shortest=0.3, longest=0.3)

    async def leftovers() -> list[str]:
        await events(job_ids)
        await asyncio.sleep(0.2)
        return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(leftovers()) == []


def test_the_next_wait_after_the_last_gets_a_new_poller(cordial: SandboxProcess, lookups: list[str]) -> None:
    job_ids = cordial.control.add_jobs(2, shortest=0.3, longest=0.3)

    async def one_after_the_other() -> list[Event]:
        return [await event(job_id) for job_id in job_ids]

    assert all_done(asyncio.run(one_after_the_other()), job_ids)
    assert len(lookups) == 2


def test_a_rotated_key_is_read_again(
    cordial: SandboxProcess, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch, lookups: list[str]
) -> None:
    monkeypatch.setattr(account, "REREAD_PAUSE", 0.0)
    job_ids = cordial.control.add_jobs(5, shortest=1.5, longest=1.5)

    async def rotate(change: Callable[[], None]) -> list[Event]:
        waits = asyncio.create_task(events(job_ids))
        await asyncio.sleep(0.7)
        change()
        cordial.control.fault("any", "answer", status=401, times=1)
        return await waits

    # The sandbox accepts one key only; for the poller, another timeout makes another connection.
    found = asyncio.run(rotate(lambda: connect(set_connection, cordial, read_timeout=7)))
    assert all_done(found, job_ids)
    assert len(lookups) == 2


def test_a_rejected_key_ends_all_waits(cordial: SandboxProcess, set_connection: SetConnection) -> None:
    job_ids = cordial.control.add_jobs(5, shortest=20, longest=20)
    fields: dict[str, Any] = {"conn_type": "cordial", "host": cordial.url, "password": "wrong-key-123"}
    set_connection("cordial_default", **fields, extra={"rejection_grace": 1})
    for fired in asyncio.run(events(job_ids)):
        assert "wrong-key-123" not in str(fired)
        with pytest.raises(AuthenticationError):
            parse_event(fired, fired["job_id"])


def test_no_event_precedes_the_record_of_the_deferral(cordial: SandboxProcess) -> None:
    others = cordial.control.add_jobs(5, shortest=6.0, longest=6.0)
    (done,) = cordial.control.add_jobs(1, shortest=0.0, longest=0.0)

    async def late() -> float:
        polling = asyncio.create_task(events(others))
        await asyncio.sleep(1)
        started = time.monotonic()
        # The listings of the others, every 0.3 s, contain this job too.
        await event(done, poll_interval=3.0)
        seconds = time.monotonic() - started
        polling.cancel()
        return seconds

    assert 2.7 <= asyncio.run(late()) < 4.5


def test_log_lines_of_the_poller_belong_to_no_task(cordial: SandboxProcess, caplog: pytest.LogCaptureFixture) -> None:
    task_id: ContextVar[str | None] = ContextVar("task_id", default=None)
    task_ids: dict[str, set[str | None]] = {}

    class Recorder(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            task_ids.setdefault(record.name, set()).add(task_id.get())
            return True

    caplog.handler.addFilter(Recorder())
    (job_id,) = cordial.control.add_jobs(1, shortest=0.5, longest=0.5)

    async def as_a_task() -> Event:
        task_id.set("another task")
        return await event(job_id)

    with caplog.at_level("INFO"):
        assert all_done([asyncio.run(as_a_task())], [job_id])
    assert task_ids["airflow_provider_cordial.jobs.poller"] == {None}


def test_a_thousand_waits_do_not_block_the_loop(cordial: SandboxProcess, set_connection: SetConnection) -> None:
    connect(set_connection, cordial, requests_per_minute=6000)
    job_ids = cordial.control.add_jobs(1000, shortest=1.0, longest=4.0)
    lags: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            lags.append(time.perf_counter() - before - 0.01)

    async def both() -> list[Event]:
        # The first import of aiohttp is slow, once in the life of a triggerer.
        import aiohttp  # noqa: F401

        waits: Awaitable[list[Event]] = asyncio.create_task(events(job_ids, poll_interval=1.0, seconds=60))
        await asyncio.sleep(0.5)
        ticking = asyncio.create_task(tick())
        found = await waits
        ticking.cancel()
        return found

    assert all_done(asyncio.run(both()), job_ids)
    lags.sort()
    assert len(lags) > 200
    # Bounds for a shared machine; `make bench-wait` prints the figures of an idle one.
    assert lags[int(len(lags) * 0.95)] < 0.05
    assert lags[-1] < 0.5


@pytest.mark.parametrize("error", UNREADABLE, ids=lambda error: type(error).__name__)
def test_a_temporarily_unreadable_connection_is_read_again(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(account, "FIRST_READ_PAUSE", 0.1)
    job_ids = cordial.control.add_jobs(5, shortest=0.5, longest=0.5)
    real, failures = CordialHook.get_connection, iter([error] * 2)

    def busy(conn_id: str) -> Any:
        if failure := next(failures, None):
            raise failure
        return real(conn_id)

    monkeypatch.setattr(CordialHook, "get_connection", staticmethod(busy))
    assert all_done(asyncio.run(events(job_ids)), job_ids)
    assert caplog.text.count("Cannot read connection cordial_default") == 1
    assert "hunter22" not in caplog.text


def test_an_unreadable_connection_ends_waits_at_their_deadline(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "FINAL_POLL_GRACE", 0.1)

    def broken(conn_id: str) -> Any:
        raise RuntimeError(conn_id)

    monkeypatch.setattr(CordialHook, "get_connection", staticmethod(broken))
    with pytest.raises(JobTimeoutError, match="Airflow connection 'cordial_default' could not be read"):
        parse_event(asyncio.run(event("j1", seconds=1)), "j1")


@pytest.mark.parametrize("error", UNREADABLE, ids=lambda error: type(error).__name__)
def test_a_failed_reread_after_a_rejection_ends_no_wait(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(account, "REREAD_PAUSE", 0.0)
    job_ids = cordial.control.add_jobs(3, shortest=1.5, longest=1.5)
    real, reads = CordialHook.get_connection, iter([False, True])

    def busy_later(conn_id: str) -> Any:
        if next(reads, False):
            raise error
        return real(conn_id)

    monkeypatch.setattr(CordialHook, "get_connection", staticmethod(busy_later))

    async def reject_once() -> list[Event]:
        waits = asyncio.create_task(events(job_ids))
        await asyncio.sleep(0.7)
        cordial.control.fault("any", "answer", status=401, times=1)
        return await waits

    assert all_done(asyncio.run(reject_once()), job_ids)


def test_a_rotation_during_many_lookups_ends_no_wait(
    cordial: SandboxProcess, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "REREAD_PAUSE", 0.0)
    connect(set_connection, cordial, requests_per_minute=6000)
    cordial.control.behaviour(record_id=None)
    job_ids = cordial.control.add_jobs(100, shortest=1.0, longest=1.0)

    async def rotate() -> list[Event]:
        waits = asyncio.create_task(events(job_ids))
        await asyncio.sleep(0.6)
        cordial.control.fault("get_job", "delay", seconds=0.3, times=6)
        connect(set_connection, cordial, requests_per_minute=6000, read_timeout=7)
        cordial.control.fault("get_job", "answer", status=401, times=1)
        return await waits

    assert all_done(asyncio.run(rotate()), job_ids)


def test_a_list_that_is_always_rate_limited_loses_no_wait(cordial: SandboxProcess) -> None:
    cordial.control.fault("list_jobs", "answer", status=429, headers={"Retry-After": "1"})
    job_ids = cordial.control.add_jobs(20, shortest=0.5, longest=0.5)
    assert all_done(asyncio.run(events(job_ids, seconds=20)), job_ids)


@pytest.mark.parametrize(("kind", "times"), [("list_jobs", 1), ("get_job", 8)])
def test_silent_answers_do_not_delay_other_waits(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch, kind: str, times: int
) -> None:
    monkeypatch.setattr(async_client, "STATUS_TIMEOUT", 2.0)
    if kind == "get_job":
        cordial.control.behaviour(record_id=None)
    cordial.control.fault(kind, "delay", seconds=60, times=times)
    job_ids = cordial.control.add_jobs(20, shortest=0.5, longest=0.5)
    assert all_done(asyncio.run(events(job_ids, seconds=20)), job_ids)


def test_due_jobs_are_looked_up_while_a_page_is_overdue(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "LISTING_PATIENCE", 0.5)
    cordial.control.fault("list_jobs", "delay", seconds=60, times=1)
    job_ids = cordial.control.add_jobs(20, shortest=0.5, longest=3.0)
    started = time.monotonic()
    assert all_done(asyncio.run(events(job_ids, seconds=30)), job_ids)
    # The timeout of the page is far longer.
    assert time.monotonic() - started < 8


def test_a_listing_after_an_overdue_page_loses_no_wait(
    cordial: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "LISTING_PATIENCE", 0.1)
    cordial.control.behaviour(max_per_page=5)
    cordial.control.fault("list_jobs", "delay", processed=True, seconds=0.4, times=30)
    job_ids = cordial.control.add_jobs(20, shortest=0.5, longest=3.0)
    started = time.monotonic()
    assert all_done(asyncio.run(events(job_ids, seconds=30)), job_ids)
    assert time.monotonic() - started < 10


def test_a_late_key_rotation_ends_no_wait(cordial: SandboxProcess, set_connection: SetConnection) -> None:
    fields: dict[str, Any] = {"conn_type": "cordial", "host": cordial.url}
    set_connection("cordial_default", **fields, password="old-key-12345")
    job_ids = cordial.control.add_jobs(20, shortest=0.5, longest=0.5)

    async def rotate() -> list[Event]:
        waits = asyncio.create_task(events(job_ids, seconds=25))
        await asyncio.sleep(4)
        set_connection("cordial_default", **fields, password=cordial.api_key)
        return await waits

    assert all_done(asyncio.run(rotate()), job_ids)


@pytest.mark.parametrize("status", [403, 404, 307])
def test_a_brief_block_by_a_firewall_ends_no_wait(
    cordial: SandboxProcess, set_connection: SetConnection, status: int
) -> None:
    connect(set_connection, cordial, not_found_grace=0.1)
    cordial.control.fault("any", "answer", status=status, body="<html>Blocked</html>")
    job_ids = cordial.control.add_jobs(20, shortest=0.5, longest=0.5)

    async def unblock() -> list[Event]:
        waits = asyncio.create_task(events(job_ids, seconds=25))
        await asyncio.sleep(2)
        cordial.control.clear_faults()
        return await waits

    assert all_done(asyncio.run(unblock()), job_ids)


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "3600"}, {"Retry-After": "nan"}, {"X-Rate-Limit-Reset": "99999999999"}], ids=str
)
def test_a_requested_pause_is_limited_to_max_wait(
    cordial: SandboxProcess, set_connection: SetConnection, headers: dict[str, str]
) -> None:
    connect(set_connection, cordial, max_wait=2)
    job_ids = cordial.control.add_jobs(10, shortest=0.5, longest=0.5)
    cordial.control.fault("any", "answer", status=429, headers=headers, times=1)
    assert all_done(asyncio.run(events(job_ids, seconds=20)), job_ids)


def test_statuses_are_recognized_in_any_case(cordial: SandboxProcess) -> None:
    job_ids = cordial.control.add_jobs(2, shortest=60, longest=60)
    rows = [{"status": " DONE", "_id": job_id} for job_id in job_ids]
    cordial.control.fault("list_jobs", "answer", status=200, body=json.dumps(rows))
    cordial.control.fault("get_job", "answer", status=200, body=json.dumps({"status": "done "}))
    assert all_done(asyncio.run(events(job_ids, seconds=20)), job_ids)
