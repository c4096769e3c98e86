"""The control API: inspect the account and inject faults.

It requires no key because the sandbox listens on loopback only, and ``same_origin`` rejects foreign web pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Self

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cordial_sandbox.faults import Fault
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.rate_limit import Windows
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import Store
from cordial_sandbox.tables import JobRow
from cordial_sandbox.trends import AUDIENCES, contacts, days_between
from cordial_sandbox.validation import ExportRequest
from cordial_sandbox.vault import Vault

PREFIX = "/_sandbox"

_DAY = date(2026, 1, 1)
_BULK = ExportRequest("bulk", _DAY, _DAY, ("opened_last_30_days",), {"type": "aws"})


class BulkJobs(BaseModel):
    """Many small jobs for the Jobs page, with evenly spaced durations.

    :param shortest: duration of the first job in seconds.
    :param longest: duration of the last job in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    count: int = Field(ge=1)
    shortest: float = Field(ge=0)
    longest: float

    @model_validator(mode="after")
    def _validate_range(self) -> Self:
        if self.longest < self.shortest:
            msg = f"Invalid longest {self.longest}: expected at least shortest ({self.shortest})."
            raise ValueError(msg)
        return self

    @property
    def durations(self) -> list[float]:
        step = (self.longest - self.shortest) / max(1, self.count - 1)
        return [self.shortest + n * step for n in range(self.count)]


@dataclass(frozen=True, slots=True)
class _Control:
    store: Store
    runner: JobRunner
    folder: SftpFolder
    vault: Vault
    windows: Windows

    async def health(self) -> dict[str, str]:
        return {"status": "ok"}

    async def behaviour(self) -> Behaviour:
        return self.store.behaviour

    async def change_behaviour(self, changes: dict[str, Any]) -> Behaviour:
        try:
            behaviour = Behaviour.model_validate({**self.store.behaviour.model_dump(), **changes})
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        self.store.set_fact("behaviour", behaviour.model_dump())
        return behaviour

    async def add_fault(self, fault: Fault) -> list[dict[str, Any]]:
        self.store.add_fault(fault.model_dump(exclude={"times"}), fault.times)
        return self.store.faults()

    async def faults(self) -> list[dict[str, Any]]:
        return self.store.faults()

    async def clear_faults(self) -> None:
        self.store.clear_faults()

    async def jobs(self) -> list[dict[str, Any]]:
        return [_describe(job) for job in self.store.jobs()]

    async def add_jobs(self, bulk: BulkJobs) -> list[str]:
        jobs = self.store.add_jobs(_BULK, bulk.durations)
        for job in jobs:
            self.runner.start(job)
        return [job.id for job in jobs]

    async def job(self, job_id: str) -> dict[str, Any]:
        job = self.store.find_job(job_id)
        if job is None:
            raise HTTPException(404)
        return _describe(job)

    async def snapshots(self, audience: str, start: date, end: date) -> list[dict[str, Any]]:
        if audience not in AUDIENCES:
            raise HTTPException(404, f"Unknown audience {audience!r}: expected one of {', '.join(AUDIENCES)}.")
        return [
            {"audience": audience, "date": day.isoformat(), "contacts": contacts(AUDIENCES[audience], day)}
            for day in days_between(start, end)
        ]

    async def create_saved_key(self, name: str) -> dict[str, str]:
        try:
            return {"public_key": self.vault.create(name)}
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

    async def requests(self) -> list[dict[str, Any]]:
        return self.store.requests()

    async def clear_requests(self) -> None:
        self.store.clear_requests()

    async def reset(self) -> None:
        await self.runner.stop()
        self.store.reset()
        self.windows.clear()
        self.folder.clear()
        self.vault.clear()


def create_control_router(
    store: Store, runner: JobRunner, folder: SftpFolder, vault: Vault, windows: Windows
) -> APIRouter:
    """Return the routes of the control API."""
    control = _Control(store, runner, folder, vault, windows)
    router = APIRouter(prefix=PREFIX)
    router.get("/health")(control.health)
    router.get("/behaviour")(control.behaviour)
    router.patch("/behaviour")(control.change_behaviour)
    router.post("/faults")(control.add_fault)
    router.get("/faults")(control.faults)
    router.delete("/faults")(control.clear_faults)
    router.get("/jobs")(control.jobs)
    router.post("/jobs")(control.add_jobs)
    router.get("/jobs/{job_id}")(control.job)
    router.get("/snapshots")(control.snapshots)
    router.put("/saved-keys/{name}")(control.create_saved_key)
    router.get("/requests")(control.requests)
    router.delete("/requests")(control.clear_requests)
    router.post("/reset")(control.reset)
    return router


def _describe(job: JobRow) -> dict[str, Any]:
    """Return everything about a job except its secrets."""
    return {
        "id": job.id,
        "status": job.status,
        "name": job.name,
        "selected_timeframe_start": job.start.isoformat(),
        "selected_timeframe_end": job.end.isoformat(),
        "audiences": job.audiences,
        "destination": job.destination,
        "reason": job.reason,
        "delivered_to": job.delivered_to,
        "created_at": job.created_at,
        "ended_at": job.ended_at,
    }
