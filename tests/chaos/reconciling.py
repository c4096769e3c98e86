"""Search for an export whose answer was lost, in an account with many jobs, and count the requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import update

from cordial_sandbox.accounts import DEFAULT_ACCOUNT
from cordial_sandbox.database import Database
from cordial_sandbox.exports import ExportRequest
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.store import Store
from cordial_sandbox.tables import JobRow
from tests.chaos.cordial import CordialService
from tests.chaos.interpreter import Interpreter
from tests.chaos.plan import Plan
from tests.chaos.tries import Try
from tests.faults.proxy import FaultProxy

JOBS = 10_000

#: Seconds over which the jobs started; Cordial keeps a job so long.
_KEPT = 60 * 24 * 60 * 60

Order = Literal["newest", "oldest"]


@dataclass(frozen=True, slots=True)
class Search:
    """What the search of one try cost.

    :param searches: how often the list was read.
    :param requests: to read it once, at most.
    :param seconds: from the first answer of that to the last.
    :param jobs: how many there are of the export afterwards.
    """

    order: Order
    has_arrived: bool
    searches: int
    requests: int
    seconds: float
    jobs: int


def measure_searches(interpreter: Interpreter, folder: Path, *, jobs: int = JOBS) -> Iterator[Search]:
    """Lose the answer of a try among many jobs, in both orders, with and without a job that has arrived."""
    data = folder / "sandbox"
    _add_old_jobs(data, jobs)
    with (
        SandboxProcess(data, job_seconds=0.05) as sandbox,
        FaultProxy(sandbox.url) as proxy,
    ):
        service = CordialService(sandbox, proxy)
        cases: list[tuple[Order, bool]] = [
            (order, arrives) for order in ("newest", "oldest") for arrives in (True, False)
        ]
        for number, (order, arrives) in enumerate(cases):
            tries = folder / str(number)
            tries.mkdir()
            sandbox.control.behaviour(list_order=order)
            sandbox.control.fault("create_export", "reset", processed=arrives, times=1)
            sandbox.control.clear_requests()
            settings = service.settings(Plan(seed=str(number), author_name=f"many-{number}"), 0, None)
            outcome = interpreter.run(
                Try(subject=service.subject, settings=settings, folder=str(tries), run_id=f"run-{number}")
            )
            # A job that the search has seen Done is not waited for.
            assert outcome.how in ("deferred", "success"), outcome
            yield _measure(sandbox, order, arrives, f"many-{number}-")


def _measure(sandbox: SandboxProcess, order: Order, has_arrived: bool, name: str) -> Search:
    searches: list[list[float]] = []
    for request in sandbox.control.requests():
        if request["request"] == "list_jobs":
            if "page=1&" in f"{request['query']}&":
                searches.append([])
            searches[-1].append(request["time"])
    most = max(searches, key=len)
    ours = sum(job["name"].startswith(name) for job in sandbox.control.jobs())
    return Search(order, has_arrived, len(searches), len(most), most[-1] - most[0], ours)


def _add_old_jobs(data: Path, count: int) -> None:
    """Fill the account of a sandbox that does not run yet."""
    timeframe = {"selected_timeframe_start": "2026-01-01", "selected_timeframe_end": "2026-01-01"}
    request = {"exportType": "csv", **timeframe, "audiences": ["opened_last_30_days"]}
    database = Database(data)
    store = Store(database, DEFAULT_ACCOUNT)
    store.add_jobs(ExportRequest("audiencetrendsexport", "old", request, {"type": "aws"}), [None] * count)
    # None of them expires while the searches are measured.
    started_at = time.time() - _KEPT + 3600 + JobRow.number * ((_KEPT - 3600) / count)
    with store.session() as session:
        session.execute(
            update(JobRow).values(
                status="Done", created_at=started_at, started_at=started_at, ended_at=started_at, delivered_to="ui"
            )
        )
    database.close()
