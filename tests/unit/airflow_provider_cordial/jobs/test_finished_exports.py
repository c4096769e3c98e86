"""Which exports became Done since the last poll: the rules alone, and the trigger against the sandbox."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.jobs.finished_exports import MAX_REMEMBERED, FinishedExports
from airflow_provider_cordial.triggers import export_job
from airflow_provider_cordial.triggers.export_job import STATE, ExportJobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import SetConnection, export_body


def row(number: int, status: str = "Done", **changes: Any) -> dict[str, Any]:
    ended = status in ("Done", "Failed")
    return {
        "_id": f"job-{number}",
        "status": status,
        "jobName": "ExportContacts",
        "metadata": {"name": f"weekly-{number}"},
        "times": {"start": moment(number), "end": moment(number + 1) if ended else None},
        **changes,
    }


def moment(number: int) -> str:
    return f"2026-11-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00+0000"


def observe(finished: FinishedExports, *rows: dict[str, Any], is_complete: bool = True) -> list[str]:
    return [job.id for job in finished.observe(rows, is_complete=is_complete)]


def restarted(finished: FinishedExports) -> FinishedExports:
    return FinishedExports(json.loads(json.dumps(finished.to_json())))


def first_poll(*rows: dict[str, Any]) -> FinishedExports:
    """Return what is known of an account after its first poll."""
    finished = FinishedExports()
    assert observe(finished, *rows) == []
    return finished


def test_exports_before_the_first_poll_are_not_reported() -> None:
    finished = first_poll(row(2), row(1))
    assert observe(finished, row(3), row(2), row(1)) == ["job-3"]


def test_a_job_is_reported_once_across_a_restart() -> None:
    finished = first_poll(row(1, "Processing"))
    assert observe(finished, row(2, "Pending"), row(1)) == ["job-1"]
    assert observe(finished, row(2, "Pending"), row(1)) == []
    finished = restarted(finished)
    assert observe(finished, row(2), row(1)) == ["job-2"]
    assert observe(restarted(finished), row(2), row(1)) == []


def test_an_account_without_jobs_is_watched() -> None:
    finished = first_poll()
    assert observe(restarted(finished), row(1)) == ["job-1"]


def test_jobs_are_reported_in_the_order_of_their_ends() -> None:
    assert observe(first_poll(), row(3), row(2), row(1)) == ["job-1", "job-2", "job-3"]


@pytest.mark.parametrize(
    "changes", [{"status": "Failed"}, {"jobName": "ImportContacts"}, {"status": "Reticulating"}, {"status": None}]
)
def test_only_done_exports_are_reported(changes: dict[str, Any]) -> None:
    assert observe(first_poll(), row(1, **{"status": "Done", **changes})) == []


def test_records_without_ids_are_reported_once() -> None:
    def anonymous(number: int) -> dict[str, Any]:
        return {**row(number), "_id": None}

    finished = first_poll(anonymous(1))
    assert [job.name for job in finished.observe([anonymous(2), anonymous(1)], is_complete=True)] == ["weekly-2"]
    assert restarted(finished).observe([anonymous(2), anonymous(1)], is_complete=True) == []


def test_the_state_is_small_and_nothing_is_reported_twice() -> None:
    many = [row(number) for number in range(2 * MAX_REMEMBERED, 0, -1)]
    finished = restarted(first_poll(*many))
    assert len(json.dumps(finished.to_json())) < 64_000
    assert observe(finished, row(2 * MAX_REMEMBERED + 5), *many) == [f"job-{2 * MAX_REMEMBERED + 5}"]


def test_a_poll_ends_at_the_first_page_without_changes() -> None:
    finished = first_poll(row(3), row(2, "Processing"), row(1))
    page = [row(4), row(3)]
    assert not finished.is_sufficient(page, page), "the page contains a new job"
    assert not finished.is_sufficient([row(3)], [row(3)]), "an unfinished job is still missing"
    assert finished.is_sufficient([row(3), row(2)], [row(3), row(2)])


@pytest.mark.parametrize(
    "rows", [[row(1), row(2)], [row(1)], [{**row(2), "_id": None}, row(1)], [{**row(2), "times": None}, row(1)]]
)
def test_a_list_in_another_order_is_read_to_its_end(rows: list[dict[str, Any]]) -> None:
    assert not first_poll(*rows).is_sufficient(rows, rows)


class StateStore:
    """The part of the asset state store that a watcher uses."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str) -> Any:
        return self.values.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))


async def reported_names(trigger: ExportJobTrigger, store: StateStore, seconds: float) -> list[str]:
    """Run a trigger, rebuilt from its row, for some seconds, and return the names of the exports that it reports."""
    _, kwargs = trigger.serialize()
    rebuilt = ExportJobTrigger(**kwargs)
    rebuilt.asset_state_store = store  # type: ignore[assignment]
    found: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for event in rebuilt.run():
                found += [job["name"] for job in event.payload["jobs"]]
    return found


def submit_exports(*names: str) -> None:
    for name in names:
        CordialHook().create_export("audiencetrendsexport", export_body(name=name))


def test_a_watcher_fires_once_per_export_across_restarts(cordial: SandboxProcess) -> None:
    cordial.control.behaviour(job_seconds=0.3)
    store, trigger = StateStore(), ExportJobTrigger(name_prefix="weekly-", poll_interval=0.2)
    submit_exports("weekly-0")
    while cordial.control.jobs()[0]["status"] != "Done":
        time.sleep(0.02)

    async def watch() -> list[list[str]]:
        first = asyncio.create_task(reported_names(trigger, store, 3))
        await asyncio.sleep(1)
        submit_exports("weekly-1", "daily-1", "weekly-2")
        found = [await first]
        submit_exports("weekly-3")
        await asyncio.sleep(0.5)
        found.append(await reported_names(trigger, store, 1.5))
        found.append(await reported_names(trigger, store, 1))
        return found

    first, second, third = asyncio.run(watch())
    assert (sorted(first), second, third) == (["weekly-1", "weekly-2"], ["weekly-3"], [])
    assert list(store.values) == [STATE]


def test_a_watcher_survives_errors_and_logs_them_once(
    cordial: SandboxProcess, set_connection: SetConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    cordial.control.behaviour(job_seconds=0.3)
    store, trigger = StateStore(), ExportJobTrigger(poll_interval=0.2)

    async def watch() -> list[str]:
        watching = asyncio.create_task(reported_names(trigger, store, 4))
        await asyncio.sleep(0.8)
        cordial.control.fault("list_jobs", "answer", status=401, times=3)
        submit_exports("weekly-1")
        await asyncio.sleep(1)
        return await watching

    assert asyncio.run(watch()) == ["weekly-1"]
    output = capsys.readouterr().out
    assert output.count("Cannot watch") == 1
    assert output.count("Watching Cordial's jobs again") == 1
    assert cordial.api_key not in output


def test_two_assets_with_equal_triggers_are_an_error(
    cordial: SandboxProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    class AmbiguousStore(StateStore):
        async def aget(self, key: str) -> Any:
            raise ValueError(key)

    assert asyncio.run(reported_names(ExportJobTrigger(poll_interval=0.1), AmbiguousStore(), 0.5)) == []
    assert "Pass different arguments to each" in capsys.readouterr().out


def test_the_row_of_a_watcher_has_no_secret(cordial: SandboxProcess) -> None:
    path, kwargs = ExportJobTrigger("cordial_default", "weekly-", "ExportContacts", 5.0).serialize()
    assert path == f"{export_job.__name__}.ExportJobTrigger"
    assert kwargs == {
        "cordial_conn_id": "cordial_default",
        "name_prefix": "weekly-",
        "job_name": "ExportContacts",
        "poll_interval": 5.0,
    }
