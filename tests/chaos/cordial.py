"""The export operator, and the sandbox as the service."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from cordial_sandbox.process import SandboxProcess
from tests.chaos.harness import import_all

_LOST: list[dict[str, Any]] = [
    {"effect": "reset", "processed": True},
    {"effect": "truncate", "processed": True},
    {"effect": "delay", "processed": True, "seconds": 0.5},
    *({"effect": "answer", "processed": True, "status": status} for status in (500, 502, 503, 504)),
]
_NOT_ARRIVED: list[dict[str, Any]] = [
    {"effect": "reset"},
    {"effect": "delay", "seconds": 0.2},
    *({"effect": "answer", "status": status} for status in (500, 503)),
    {"effect": "answer", "status": 429, "headers": {"Retry-After": "0"}},
]
_LISTS: list[dict[str, Any]] = [
    {"request": "list_jobs", "effect": "reset"},
    {"request": "list_jobs", "effect": "answer", "status": 503},
    {"request": "get_job", "effect": "answer", "status": 503},
]


class CordialSubject:
    """``AudienceTrendsExportOperator``, which waits in the triggerer."""

    name = "AudienceTrendsExportOperator"
    faults: ClassVar[list[Mapping[str, Any]]] = [
        *({"request": "create_export", **fault} for fault in (*_LOST, *_NOT_ARRIVED)),
        *_LISTS,
        {"behaviour": {"job_fails_with": "Login failed."}},
        {"behaviour": {"visible_after": 0.2}},
        {"behaviour": {"list_names": False}, "lost": True},
        {"behaviour": {"list_ids": False}, "lost": True},
    ]

    def __init__(self, sandbox: SandboxProcess) -> None:
        import_all(
            "aiohttp",
            "airflow_provider_cordial.client.async_client",
            "airflow_provider_cordial.hooks.cordial",
            "airflow_provider_cordial.operators.audience_trends",
            "airflow_provider_cordial.triggers.job",
            "requests.adapters",
            "tenacity",
        )
        self.sandbox = sandbox
        # Short timeouts: a try ends within a second.
        extra = {"attempts": 2, "read_timeout": 2, "export_timeout": 0.3, "not_found_grace": 5}
        connection = {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key, "extra": extra}
        os.environ["AIRFLOW_CONN_CORDIAL_DEFAULT"] = json.dumps(connection)

    def start_run(self, run: int) -> None:
        self.sandbox.control.reset()

    def fault(self, fault: Mapping[str, Any] | None) -> None:
        control = self.sandbox.control
        control.clear_faults()
        control.behaviour(job_fails_with=None, visible_after=0.0, list_names=True, list_ids=True)
        if fault is None:
            return
        if behaviour := fault.get("behaviour"):
            control.behaviour(**behaviour)
            if fault.get("lost"):
                control.fault("create_export", "reset", processed=True, times=1)
        else:
            control.fault(times=1, **fault)

    def execute(self, context: dict[str, Any], run: int) -> Any:
        return self._operator(run).execute(context)

    def resume(self, context: dict[str, Any], run: int, event: Any) -> Any:
        return self._operator(run).execute_complete(context, event)

    def wait(self, deferred: Any) -> Any:
        from airflow_provider_cordial.triggers.job import JobTrigger

        async def first_event() -> Any:
            return (await anext(aiter(JobTrigger(**deferred[1]).run()))).payload

        return asyncio.run(first_event())

    def jobs(self) -> list[str]:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            jobs = self.sandbox.control.jobs()
            if all(job["status"] in ("Done", "Failed") for job in jobs):
                break
            time.sleep(0.01)
        return [job["id"] for job in jobs if job["status"] == "Done"]

    def all_jobs(self) -> int:
        return len(self.sandbox.control.jobs())

    def pushed_job(self, xcoms: Mapping[str, Any], value: Any) -> str | None:
        export = xcoms.get("export", {})
        job = self.sandbox.control.job(value)
        same = all(export.get(key) == job[key] for key in ("name", "audiences", "selected_timeframe_start"))
        return str(value) if same and export["job_id"] == value else None

    def _operator(self, run: int) -> Any:
        from airflow_provider_cordial.destinations import UiDestination
        from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator

        return AudienceTrendsExportOperator(
            task_id="export",
            audiences=["opened_last_30_days"],
            destination=UiDestination(),
            selected_timeframe_start="2026-11-01",
            selected_timeframe_end="2026-11-07",
            wait_for_completion=True,
            deferrable=True,
            poll_interval=0.05,
            settling_time=0.4,
            timeout=30,
            dag=None,
        )
