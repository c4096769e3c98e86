"""A small fixed part of ``make chaos``: a kill at each point, each fault, and some combinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.chaos.cordial import CordialSubject
from tests.chaos.harness import POINTS, Counts, Disruption, chaos, one_run


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(tmp_path_factory.mktemp("sandbox"), job_seconds=0.05) as sandbox:
        yield sandbox


@pytest.fixture
def subject(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> CordialSubject:
    # The subject sets it; set here so that it is restored.
    monkeypatch.setenv("AIRFLOW_CONN_CORDIAL_DEFAULT", "{}")
    return CordialSubject(sandbox)


#: The fault that leads a try to the point ``while listing``.
LOST: Mapping[str, Any] = {"request": "create_export", "effect": "reset", "processed": True}


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_point_results_in_one_job(subject: CordialSubject, tmp_path: Path, point: str) -> None:
    fault = LOST if point == "while listing" else None
    if point == "POST on the wire":
        fault = {"request": "create_export", "effect": "delay", "processed": True, "seconds": 0.2}
    counts = Counts()
    one_run(subject, 1, [Disruption(kill_at=point, fault=fault)] * 2, tmp_path, counts)
    assert counts.kills >= 1
    assert (counts.jobs, counts.duplicates, counts.losses, counts.uncertain) == (1, 0, 0, 0), counts.failures


@pytest.mark.parametrize("fault", CordialSubject.faults, ids=str)
def test_a_fault_results_in_one_job_or_an_uncertain_error(
    subject: CordialSubject, tmp_path: Path, fault: Mapping[str, Any]
) -> None:
    counts = Counts()
    one_run(subject, 1, [Disruption(fault=fault)] * 2, tmp_path, counts)
    assert (counts.kills, counts.duplicates, counts.losses) == (0, 0, 0), counts.failures
    assert counts.uncertain == (1 if "lost" in fault else 0)


def test_combined_faults(subject: CordialSubject, tmp_path: Path) -> None:
    counts = chaos(subject, POINTS, 12, 4711, tmp_path)
    assert (counts.duplicates, counts.losses) == (0, 0), counts.failures
    assert counts.kills >= 12


class Forgetful(CordialSubject):
    """An operator that keeps no record of what it submits, like most operators."""

    def execute(self, context: dict[str, Any], run: int) -> Any:
        from airflow_provider_cordial.hooks.cordial import CordialHook

        body = {
            "name": "trends",
            "exportType": "csv",
            "destination": {"type": "aws"},
            "selected_timeframe_start": "2026-11-01",
            "selected_timeframe_end": "2026-11-07",
            "audiences": ["opened_last_30_days"],
        }
        job_id = CordialHook().create_export("audiencetrendsexport", body)
        context["ti"].xcom_push("export", {**body, "job_id": job_id})
        return job_id


def test_the_suite_detects_an_operator_that_keeps_nothing(subject: CordialSubject, tmp_path: Path) -> None:
    counts = Counts()
    forgetful = Forgetful(subject.sandbox)
    one_run(forgetful, 1, [Disruption(kill_at="after the answer"), Disruption(fault=LOST)], tmp_path, counts)
    assert (counts.kills, counts.jobs, counts.duplicates, counts.losses) == (1, 3, 2, 0)
    assert len(counts.failures) == 1
