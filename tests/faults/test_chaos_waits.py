"""A small form of ``make chaos-waits``, and proof that it detects triggers that lose waits or end them wrongly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import AuthenticationError, CordialError, JobFailedError, JobTimeoutError
from airflow_provider_cordial.jobs.events import build_event
from airflow_provider_cordial.triggers.job import JobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.faults.waits import FAULTS, FULL, JOB_TRIGGER, SMALL, Outcome, draw_plan, judge, run

SEED = 1


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    with SandboxProcess(tmp_path / "sandbox") as sandbox:
        yield sandbox


def test_no_wait_is_lost_or_ends_wrongly(sandbox: SandboxProcess, tmp_path: Path) -> None:
    plan = draw_plan(24, SEED, SMALL)
    counts = run(plan, sandbox, tmp_path)
    assert (counts.waits, counts.lost, counts.wrong) == (27, 0, 0), (plan, counts.failures)
    assert set(counts.tallies) == set(FAULTS)
    affected = [fault for fault, tally in counts.tallies.items() if tally.hits]
    # A pause after one fault can span the next.
    assert len(affected) >= len(FAULTS) - 4


class HastyTrigger(JobTrigger):
    """Reports Done without polling the job."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        job = Job.from_record({"_id": self.job_id, "status": "Done"})
        yield TriggerEvent(build_event(self.job_id, job))  # type: ignore[no-untyped-call,unused-ignore]


class SilentTrigger(JobTrigger):
    """Never fires."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(3600)
        yield TriggerEvent(None)  # type: ignore[no-untyped-call,unused-ignore]


class GivingUpTrigger(JobTrigger):
    """Ends without an event."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        return
        yield


def test_the_suite_detects_broken_triggers(
    sandbox: SandboxProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.faults.waits.DEADLINE_GRACE", 0.5)
    plan = replace(draw_plan(8, SEED, replace(SMALL, workers=0, tail=1.0), faults=()), seconds=5.0, failures=())
    silent, giving_up, hasty = (
        f"{__name__}.{broken.__name__}" for broken in (SilentTrigger, GivingUpTrigger, HastyTrigger)
    )
    counts = run(plan, sandbox, tmp_path, [silent, giving_up, JOB_TRIGGER, hasty])
    assert (counts.waits, counts.lost, counts.wrong) == (8, 4, 2)
    assert sum("Done before the job ended" in failure for failure in counts.failures) == 2


def test_a_plan_depends_on_its_arguments_only() -> None:
    assert draw_plan(200, 7, FULL) == draw_plan(200, 7, FULL)
    assert draw_plan(200, 7, FULL) != draw_plan(200, 8, FULL)


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_has_every_fault_and_some_failed_jobs(seed: int) -> None:
    plan = draw_plan(200, seed, FULL)
    assert {phase.fault for phase in plan.phases} == set(FAULTS)
    assert all(0 <= phase.start < plan.seconds for phase in plan.phases)
    assert all(0 < start < end < plan.seconds for start, end in plan.failures)
    assert 120 < plan.seconds < 260
    assert len({number for number, _ in plan.workers}) == len(plan.workers) == 12


def job(status: str, job_id: str = "j1") -> Job:
    return Job.from_record({"_id": job_id, "status": status})


def failed(status: str = "Failed", job_id: str = "j1") -> JobFailedError:
    return JobFailedError("Failed", job=job(status, job_id))


#: What a wait reported, how its job ended if it did, and the verdict.
VERDICTS: list[tuple[Any, str, bool, str]] = [
    (job("Done"), "Done", True, "right"),
    (failed(), "Failed", True, "right"),
    (JobTimeoutError("late"), "Processing", False, "right"),
    (JobTimeoutError("late"), "Done", True, "lost"),
    (None, "Done", True, "lost"),
    (job("Done"), "Processing", False, "wrong"),
    (job("Done"), "Failed", True, "wrong"),
    (failed(), "Done", True, "wrong"),
    (failed("Done"), "Done", True, "wrong"),
    (job("Done", "j2"), "Done", True, "wrong"),
    (AuthenticationError("401"), "Done", True, "wrong"),
    (CordialError("bug"), "Failed", True, "wrong"),
    (KeyError("bug"), "Processing", False, "wrong"),
]


@pytest.mark.parametrize(("result", "status", "has_ended", "verdict"), VERDICTS, ids=lambda value: repr(value)[:40])
def test_an_outcome_is_compared_with_the_job(result: Any, status: str, has_ended: bool, verdict: str) -> None:
    now = time.time()
    truth = {"id": "j1", "status": status, "ended_at": now - 2 if has_ended else None}
    outcome = None if result is None else Outcome(result, now)
    assert judge(outcome, truth).kind == verdict


def test_an_event_before_the_end_of_its_job_is_wrong() -> None:
    truth = {"id": "j1", "status": "Done", "ended_at": 1000.0}
    assert judge(Outcome(job("Done"), 999.0), truth).kind == "wrong"
    assert judge(Outcome(job("Done"), 1003.0), truth).delay == 3.0
