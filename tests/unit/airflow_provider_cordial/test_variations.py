"""Every form that Cordial leaves open, through the whole provider: submit, wait, and load."""

from __future__ import annotations

import asyncio
import gzip
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.jobs.events import parse_event
from airflow_provider_cordial.operators import CordialContactActivityExportOperator
from airflow_provider_cordial.transfers import DeliveredFileToObjectStorageOperator
from airflow_provider_cordial.triggers.job import JobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import GOLD, QUICK, load
from tests.helpers.operators import SFTP, Store, export, run_context
from tests.helpers.waits import run_trigger

AUDIENCES = ["opened_last_30_days", GOLD, "purchased_last_30_days"]

#: The forms of a job record and of the list of jobs.
RECORDS: tuple[dict[str, Any], ...] = (
    {},
    *({"record_id": member} for member in ("id", "jobId", "jobID", None)),
    *({"record_times": form} for form in ("+00:00", "Z", "milliseconds", "no_offset")),
    *({"empty_members": form} for form in ("absent", "list")),
    {"list_order": "oldest"},
    {"max_per_page": 25, "default_per_page": 10},
    {"max_per_page": 3, "list_order": "oldest"},
    {
        "record_id": "id",
        "record_times": "milliseconds",
        "empty_members": "absent",
        "list_order": "oldest",
        "max_per_page": 7,
    },
)

ANSWERS: tuple[dict[str, Any], ...] = tuple({"answer_id": member} for member in ("jobID", "_id", "id", None))

#: The forms of the delivered file.
FILES: tuple[dict[str, Any], ...] = (
    {"csv_gzip": True},
    {"csv_parts": 2},
    {"csv_parts": 3, "csv_gzip": True, "part_suffix": ".part{number}"},
    {"csv_parts": 3, "part_suffix": "-{number}-of-{total}", "csv_bom": True, "csv_crlf": True},
    {"csv_audience_column": "Audience Name", "csv_missing": "null"},
    *({"file_name": pattern} for pattern in ("{name}", "{name}_{timestamp}.csv", "{name}-{job_id}.csv")),
)


def export_and_load(cordial: SandboxProcess, context: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Submit an export, wait for its job in the triggerer, and load its file; return the pushed export."""
    job_id, record = export(context, audiences=AUDIENCES, days=7, settling_time=0.5, retries=2, **options)
    event = run_trigger(JobTrigger("cordial_default", job_id, 0.1, time.time() + 30))
    assert parse_event(event, job_id).is_done
    load(record, parts=cordial.control.behaviour()["csv_parts"] > 1)
    return record


def expected_rows(cordial: SandboxProcess, record: dict[str, Any]) -> set[tuple[str, str, int | None]]:
    first, last = record["selected_timeframe_start"], record["selected_timeframe_end"]
    return {
        (row["audience"], row["date"], row["contacts"])
        for audience in AUDIENCES
        for row in cordial.control.snapshots(audience=audience, start=first, end=last)
    }


def loaded_rows(warehouse: Path) -> set[tuple[str, str, int | None]]:
    with closing(sqlite3.connect(warehouse)) as connection:
        return set(connection.execute("SELECT audience, snapshot_date, contacts FROM audience_trends"))


@pytest.fixture
def context(cordial: SandboxProcess) -> dict[str, Any]:
    """The context of a task in an account with more than a page of other jobs."""
    cordial.control.add_jobs(30, shortest=1000, longest=1000)
    return {**run_context(), "task_state_store": Store()}


@pytest.mark.parametrize("behaviour", [*RECORDS, *ANSWERS, *FILES], ids=str)
def test_an_export_is_loaded_in_every_form(
    cordial: SandboxProcess, warehouse: Path, context: dict[str, Any], behaviour: dict[str, Any]
) -> None:
    cordial.control.behaviour(job_seconds=0.1, **behaviour)
    record = export_and_load(cordial, context)
    rows = loaded_rows(warehouse)
    assert rows == expected_rows(cordial, record)
    assert len(rows) == len(AUDIENCES) * 7
    # Exactly one job, also where the answer has no id.
    assert [job["id"] for job in cordial.control.jobs() if job["name"] != "bulk"] == [record["job_id"]]
    # Another try resumes it.
    assert export(context, audiences=AUDIENCES, days=7, settling_time=0.5, retries=2)[1] == record


@pytest.mark.parametrize("part_suffix", ["-{number}", "_part{number}", "-{number}-of-{total}"])
def test_records_in_parts_are_copied(cordial: SandboxProcess, tmp_path: Path, part_suffix: str) -> None:
    cordial.control.behaviour(job_seconds=0, part_suffix=part_suffix)
    context = run_context()
    operator = CordialContactActivityExportOperator(
        task_id="export", destination=SFTP, limit_records_per_file=10, compress=True, wait_for_completion=True
    )
    operator.execute(context)  # type: ignore[arg-type]
    record = context["ti"].xcoms["export"]
    copy = DeliveredFileToObjectStorageOperator(
        task_id="copy", export=record, path=str(tmp_path / "out"), parts=True, file_wait=QUICK
    )
    assert copy.execute({})["parts"] == 3
    lines = [gzip.decompress(path.read_bytes()).count(b"\n") for path in sorted((tmp_path / "out").iterdir())]
    assert lines == [10, 10, 5]


@pytest.mark.parametrize("behaviour", [each for each in RECORDS if each.get("record_id", "_id") is not None], ids=str)
def test_a_lost_answer_is_found_in_every_form_of_the_list(
    cordial: SandboxProcess, warehouse: Path, context: dict[str, Any], behaviour: dict[str, Any]
) -> None:
    cordial.control.behaviour(job_seconds=0.1, **behaviour)
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    record = export_and_load(cordial, context)
    assert loaded_rows(warehouse) == expected_rows(cordial, record)
    assert [job["id"] for job in cordial.control.jobs() if job["name"] != "bulk"] == [record["job_id"]]


@pytest.mark.parametrize("behaviour", RECORDS, ids=str)
def test_many_waits_end_in_every_form_of_the_list(cordial: SandboxProcess, behaviour: dict[str, Any]) -> None:
    cordial.control.behaviour(**behaviour)
    cordial.control.add_jobs(10, shortest=1000, longest=1000)
    job_ids = cordial.control.add_jobs(20, shortest=0.5, longest=1.0)

    async def wait(job_id: str) -> Any:
        (event,) = [one.payload async for one in JobTrigger("cordial_default", job_id, 0.3, time.time() + 30).run()]
        return parse_event(event, job_id)

    async def wait_for_all() -> list[Any]:
        return await asyncio.gather(*map(wait, job_ids))

    assert [(job.id, job.is_done) for job in asyncio.run(wait_for_all())] == [(job_id, True) for job_id in job_ids]
    kinds = [request["request"] for request in cordial.control.requests()]
    # The list is of use wherever its records have ids.
    assert "list_jobs" in kinds
    assert (kinds.count("get_job") < 20) == (behaviour.get("record_id", "_id") is not None)
