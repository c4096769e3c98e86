"""The control API: inspect and change the account, and inject faults.

It requires a token unless the sandbox listens on loopback only (see ``access``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cordial_sandbox.account_state import Accounts, AccountState
from cordial_sandbox.accounts import AccountChange
from cordial_sandbox.body import check_body
from cordial_sandbox.clock import Clock
from cordial_sandbox.exports.kind import ExportRequest
from cordial_sandbox.fates import Fate
from cordial_sandbox.faults import Fault
from cordial_sandbox.retention import delete_downloads, delete_expired
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.state import MAX_JOBS, State, export_state, import_state
from cordial_sandbox.tables import JobRow
from cordial_sandbox.trends import contacts_until, days_between
from cordial_sandbox.vault import Vault

PREFIX = "/_sandbox"
STATE_PATH = f"{PREFIX}/state"

#: Health and readiness, for a supervisor that has no token.
PUBLIC_PATHS = (f"{PREFIX}/health", f"{PREFIX}/ready")

_MAX_BULK = 100_000

#: How many bulk jobs are added in one step, which takes a few milliseconds.
_BULK_STEP = 100


class BulkJobs(BaseModel):
    """Many small jobs for the Jobs page, with evenly spaced durations.

    :param shortest: duration of the first job in seconds.
    :param longest: duration of the last job in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    count: int = Field(ge=1, le=_MAX_BULK)
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


class ClockChange(BaseModel):
    """A change of the clock: set it, then move it, then stop or start it.

    :param now: date and time in ISO 8601, in UTC without an offset.
    :param move: seconds, also negative.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    now: datetime | None = None
    move: float = 0.0
    stopped: bool | None = None


@dataclass(frozen=True, slots=True)
class _Control:
    accounts: Accounts
    clock: Clock
    folder: SftpFolder
    vault: Vault
    data: Path

    def find(self, account: str | None) -> AccountState:
        state = self.accounts.find(account)
        if state is None:
            names = ", ".join(state.account.name for state in self.accounts.states)
            raise HTTPException(404, f"Unknown account: expected one of {names}.")
        return state

    async def health(self) -> dict[str, str]:
        return {"status": "ok"}

    async def readiness(self) -> dict[str, str]:
        self.accounts.first.store.check()
        return {"status": "ready"}

    async def describe_accounts(self) -> list[dict[str, Any]]:
        return [_describe_account(state) for state in self.accounts.states]

    async def change_account(self, change: AccountChange, account: str | None = None) -> dict[str, Any]:
        state = self.find(account)
        state.change(change)
        return _describe_account(state)

    async def behaviour(self, account: str | None = None) -> Behaviour:
        return self.find(account).store.behaviour

    async def change_behaviour(self, changes: dict[str, Any], account: str | None = None) -> Behaviour:
        store = self.find(account).store
        try:
            behaviour = Behaviour.model_validate({**store.behaviour.model_dump(), **changes})
        except ValueError as error:
            raise HTTPException(422, _printable(error)) from None
        store.set_behaviour(behaviour)
        return behaviour

    async def add_fault(self, fault: Fault, account: str | None = None) -> list[dict[str, Any]]:
        store = self.find(account).store
        store.add_fault(fault.model_dump(exclude={"times"}), fault.times)
        return store.faults()

    async def faults(self, account: str | None = None) -> list[dict[str, Any]]:
        return self.find(account).store.faults()

    async def clear_faults(self, account: str | None = None) -> None:
        self.find(account).store.clear_faults()

    async def add_fate(self, fate: Fate, account: str | None = None) -> list[dict[str, Any]]:
        store = self.find(account).store
        store.add_fate(fate)
        return store.fates()

    async def fates(self, account: str | None = None) -> list[dict[str, Any]]:
        return self.find(account).store.fates()

    async def clear_fates(self, account: str | None = None) -> None:
        self.find(account).store.clear_fates()

    async def jobs(
        self,
        account: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_JOBS)] = MAX_JOBS,
        status: str | None = None,
    ) -> list[dict[str, Any]]:
        return [_describe(job) for job in self.find(account).store.jobs(limit, status)]

    async def add_jobs(self, bulk: BulkJobs, account: str | None = None) -> list[str]:
        state = self.find(account)
        request, durations, resets = _build_bulk_request(state), bulk.durations, state.store.resets
        job_ids: list[str] = []
        for start in range(0, bulk.count, _BULK_STEP):
            jobs = state.store.add_jobs(request, durations[start : start + _BULK_STEP])
            state.runner.start(*jobs)
            job_ids += [job.id for job in jobs]
            # One of the requests that are answered meanwhile may be a reset.
            await asyncio.sleep(0)
            if state.store.resets != resets:
                raise HTTPException(409, "The account was reset before all jobs were added.")
        return job_ids

    async def job(self, job_id: str, account: str | None = None) -> dict[str, Any]:
        job = self.find(account).store.find_job(job_id)
        if job is None:
            raise HTTPException(404)
        return _describe(job)

    async def snapshots(
        self, audience: str, start: date, end: date, account: str | None = None
    ) -> list[dict[str, Any]]:
        owner = self.find(account).account
        found = owner.audiences_by_name.get(audience)
        if found is None:
            names = ", ".join(owner.audiences_by_name)
            raise HTTPException(404, f"Unknown audience {_printable(audience)!r}: expected one of {names}.")
        today = owner.today(self.clock.now())
        return [
            {"audience": audience, "date": day.isoformat(), "contacts": contacts_until(found, day, today)}
            for day in days_between(start, end)
        ]

    async def create_saved_key(self, name: str) -> dict[str, str]:
        try:
            return {"public_key": self.vault.create(name)}
        except ValueError as error:
            raise HTTPException(422, _printable(error)) from None

    async def requests(self, account: str | None = None) -> list[dict[str, Any]]:
        return self.find(account).store.requests()

    async def clear_requests(self, account: str | None = None) -> None:
        self.find(account).store.clear_requests()

    async def read_clock(self) -> dict[str, Any]:
        return self.clock.describe()

    async def change_clock(self, change: ClockChange) -> dict[str, Any]:
        try:
            now = None if change.now is None else _to_timestamp(change.now)
            self.clock.change(now=now, move=change.move, stopped=change.stopped)
        except (ValueError, OverflowError) as error:
            raise HTTPException(422, str(error)) from None
        await delete_expired(self.accounts, self.clock, self.data)
        return self.clock.describe()

    async def reset_clock(self) -> None:
        self.clock.reset()

    async def export_state(self) -> dict[str, Any]:
        try:
            return export_state(self.accounts, self.clock, self.data)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

    async def import_state(self, state: State) -> None:
        """Replace everything; an account that the state does not have is reset."""
        if unknown := sorted(set(state.accounts) - {one.account.name for one in self.accounts.states}):
            raise HTTPException(
                422, f"Unknown account {_printable(unknown[0])!r}: start the sandbox with its seed file."
            )
        await self.reset()
        import_state(state, self.accounts, self.clock, self.data)

    async def reset(self, account: str | None = None) -> None:
        """Reset one account; without its name all of them, the clock, the saved keys, and the SFTP files."""
        states = self.accounts.states if account is None else [self.find(account)]
        for state in states:
            await state.runner.stop()
            downloads = state.store.find_downloads()
            state.store.reset()
            state.restore()
            state.windows.clear()
            await delete_downloads(self.data, downloads)
        if account is None:
            self.clock.reset()
            self.folder.clear()
            self.vault.clear()


def create_control_router(accounts: Accounts, clock: Clock, folder: SftpFolder, vault: Vault, data: Path) -> APIRouter:
    """Return the routes of the control API."""
    control = _Control(accounts, clock, folder, vault, data)
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(check_body)])
    router.get("/health")(control.health)
    router.get("/ready")(control.readiness)
    router.get("/accounts")(control.describe_accounts)
    router.patch("/account")(control.change_account)
    router.get("/behaviour")(control.behaviour)
    router.patch("/behaviour")(control.change_behaviour)
    router.post("/faults")(control.add_fault)
    router.get("/faults")(control.faults)
    router.delete("/faults")(control.clear_faults)
    router.post("/fates")(control.add_fate)
    router.get("/fates")(control.fates)
    router.delete("/fates")(control.clear_fates)
    router.get("/clock")(control.read_clock)
    router.patch("/clock")(control.change_clock)
    router.delete("/clock")(control.reset_clock)
    router.get("/jobs")(control.jobs)
    router.post("/jobs")(control.add_jobs)
    router.get("/jobs/{job_id}")(control.job)
    router.get("/snapshots")(control.snapshots)
    router.put("/saved-keys/{name}")(control.create_saved_key)
    router.get("/requests")(control.requests)
    router.delete("/requests")(control.clear_requests)
    router.get("/state")(control.export_state)
    router.put("/state")(control.import_state)
    router.post("/reset")(control.reset)
    return router


def _describe_account(state: AccountState) -> dict[str, Any]:
    return {
        "name": state.account.name,
        "timezone": state.account.timezone,
        "audiences": [
            {"name": audience.name, "id": audience.id, "analytics": audience.analytics}
            for audience in state.account.audiences
        ],
    }


def _build_bulk_request(state: AccountState) -> ExportRequest:
    day = "2026-01-01"
    names = [audience.name for audience in state.account.audiences if audience.analytics][:1]
    request = {
        "exportType": "csv",
        "selected_timeframe_start": day,
        "selected_timeframe_end": day,
        "audiences": names,
    }
    return ExportRequest("audiencetrendsexport", "bulk", request, {"type": "aws"})


def _to_timestamp(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _printable(text: object) -> str:
    return str(text).encode("utf-8", "backslashreplace").decode()


def _describe(job: JobRow) -> dict[str, Any]:
    """Return everything about a job except its secrets."""
    return {
        "id": job.id,
        "status": job.status,
        "kind": job.kind,
        "name": job.name,
        **job.request,
        "destination": job.destination,
        "reason": job.reason,
        "delivered_to": job.delivered_to,
        "created_at": job.created_at,
        "ended_at": job.ended_at,
    }
