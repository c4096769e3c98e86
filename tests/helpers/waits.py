"""Wait for jobs as the triggerer does."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.triggers.job import JobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body


def submit_job(sandbox: SandboxProcess, **behaviour: Any) -> str:
    """Submit an export to a sandbox with this behaviour, and return its job id."""
    sandbox.control.behaviour(**behaviour)
    return CordialHook().create_export("audiencetrendsexport", export_body())


def run_trigger(trigger: JobTrigger) -> Any:
    """Run a trigger as the triggerer does, rebuilt from its row, and return its only event."""
    path, kwargs = trigger.serialize()
    assert path == f"{JobTrigger.__module__}.{JobTrigger.__qualname__}"

    async def events() -> list[Any]:
        return [event.payload async for event in JobTrigger(**kwargs).run()]

    (event,) = asyncio.run(events())
    return event
