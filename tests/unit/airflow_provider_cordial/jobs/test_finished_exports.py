"""Which exports became Done since the last poll: pure, and as a trigger against the sandbox."""

from __future__ import annotations

import asyncio
import json
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


def told(ended: FinishedExports, *rows: dict[str, Any], whole: bool = True) -> list[str]:
    return [job.id for job in ended.observe(rows, is_complete=whole)]


def restarted(ended: FinishedExports) -> FinishedExports:
    return FinishedExports(json.loads(json.dumps(ended.to_json())))


def watched(*rows: dict[str, Any]) -> FinishedExports:
    """An account that was polled once."""
    ended = FinishedExports()
    assert told(ended, *rows) == []
    return ended


def test_exports_before_the_first_poll_are_not_reported() -> None:
    ended = watched(row(2), row(1))
    assert told(ended, row(3), row(2), row(1)) == ["job-3"]


def test_a_job_is_reported_once_across_a_restart() -> None:
    ended = watched(row(1, "Processing"))
    assert told(ended, row(2, "Pending"), row(1)) == ["job-1"]
    assert told(ended, row(2, "Pending"), row(1)) == []
    ended = restarted(ended)
    assert told(ended, row(2), row(1)) == ["job-2"]
    assert told(restarted(ended), row(2), row(1)) == []


def test_an_account_without_jobs_is_watched() -> None:
    ended = watched()
    assert told(restarted(ended), row(1)) == ["job-1"]


def test_jobs_are_reported_in_the_order_of_their_ends() -> None:
    assert told(watched(), row(3), row(2), row(1)) == ["job-1", "job-2", "job-3"]


@pytest.mark.parametrize(
    "changes", [{"status": "Failed"}, {"jobName": "ImportContacts"}, {"status": "Reticulating"}, {"status": None}]
)
def test_only_done_exports_are_reported(changes: dict[str, Any]) -> None:
    assert told(watched(), row(1, **{"status": "Done", **changes})) == []


def test_records_without_ids_are_reported_once() -> None:
    def anonymous(number: int) -> dict[str, Any]:
        return {**row(number), "_id": None}

    ended = watched(anonymous(1))
    assert [job.name for job in ended.observe([anonymous(2), anonymous(1)], is_complete=True)] == ["weekly-2"]
    assert restarted(ended).observe([anonymous(2), anonymous(1)], is_complete=True) == []


def test_the_state_is_small_and_nothing_is_reported_twice() -> None:
    many = [row(number) for number in range(2 * MAX_REMEMBERED, 0, -1)]
    ended = restarted(watched(*many))
    assert len(json.dumps(ended.to_json())) < 64_000
    assert told(ended, row(2 * MAX_REMEMBERED + 5), *many) == [f"job-{2 * MAX_REMEMBERED + 5}"]


def test_a_poll_ends_at_the_first_page_without_news() -> None:
    ended = watched(row(3), row(2, "Processing"), row(1))
    page = [row(4), row(3)]
    assert not ended.is_sufficient(page, page), "there is a new job on the page"
    assert not ended.is_sufficient([row(3)], [row(3)]), "one that was at work is still to be seen"
    assert ended.is_sufficient([row(3), row(2)], [row(3), row(2)])


@pytest.mark.parametrize(
    "rows", [[row(1), row(2)], [row(1)], [{**row(2), "_id": None}, row(1)], [{**row(2), "times": None}, row(1)]]
)
def test_a_list_in_another_order_is_read_to_its_end(rows: list[dict[str, Any]]) -> None:
    assert not watched(*rows).is_sufficient(rows, rows)


class Memory:
    """The part of the asset state store that a watcher uses."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def aget(self, key: str) -> Any:
        return self.kept.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = json.loads(json.dumps(value))


async def names(trigger: ExportJobTrigger, memory: Memory, seconds: float) -> list[str]:
    """Run a trigger, rebuilt from its row, for some time, and return the names of the exports that it reported."""
    _, kwargs = trigger.serialize()
    again = ExportJobTrigger(**kwargs)
    again.asset_state_store = memory  # type: ignore[assignment]
    found: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for event in again.run():
                found += [job["name"] for job in event.payload["jobs"]]
    return found


def exported(*names: str) -> None:
    for name in names:
        CordialHook().create_export("audiencetrendsexport", export_body(name=name))


def test_a_watcher_fires_once_per_export_across_restarts(cordial: SandboxProcess) -> None:
    cordial.control.behaviour(job_seconds=0.3)
    memory, trigger = Memory(), ExportJobTrigger(name_prefix="weekly-", poll_interval=0.2)
    exported("weekly-0")
    while cordial.control.jobs()[0]["status"] != "Done":
        pass

    async def watch() -> list[list[str]]:
        first = asyncio.create_task(names(trigger, memory, 3))
        await asyncio.sleep(1)
        exported("weekly-1", "daily-1", "weekly-2")
        found = [await first]
        exported("weekly-3")
        await asyncio.sleep(0.5)
        found.append(await names(trigger, memory, 1.5))
        found.append(await names(trigger, memory, 1))
        return found

    first, second, third = asyncio.run(watch())
    assert (sorted(first), second, third) == (["weekly-1", "weekly-2"], ["weekly-3"], [])
    assert list(memory.kept) == [STATE]


def test_a_watcher_survives_errors_and_logs_them_once(
    cordial: SandboxProcess, set_connection: SetConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    cordial.control.behaviour(job_seconds=0.3)
    memory, trigger = Memory(), ExportJobTrigger(poll_interval=0.2)

    async def watch() -> list[str]:
        watching = asyncio.create_task(names(trigger, memory, 4))
        await asyncio.sleep(0.8)
        cordial.control.fault("list_jobs", "answer", status=401, times=3)
        exported("weekly-1")
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
    class Ambiguous(Memory):
        async def aget(self, key: str) -> Any:
            raise ValueError(key)

    assert asyncio.run(names(ExportJobTrigger(poll_interval=0.1), Ambiguous(), 0.5)) == []
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
