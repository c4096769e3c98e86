"""The state of a sandbox as JSON, to keep it in a file and to start from it.

It has the jobs with their files, the behavior, faults, and fates of every account, and the clock. It has neither
secrets nor the journal, which is what the clients did.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field, model_validator

from cordial_sandbox.account_state import Accounts, AccountState
from cordial_sandbox.accounts import AccountChange
from cordial_sandbox.clock import Clock, check_moment
from cordial_sandbox.exports import KINDS
from cordial_sandbox.fates import Fate, Outcome
from cordial_sandbox.faults import Fault
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import HIDDEN, MAX_RULES
from cordial_sandbox.tables import JobRow

VERSION = 1

#: Bytes of a state as JSON; its files are in memory while it is exported or imported.
MAX_STATE = 100_000_000

#: Jobs of an account that are exported or listed at once.
MAX_JOBS = 20_000

_FOLDERS = ("downloads", "sftp")


def _check_path(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or path.parts[0] not in _FOLDERS:
        msg = f"expected a path in {' or '.join(_FOLDERS)}"
        raise ValueError(msg)
    return text


def _check_kind(kind: str) -> str:
    if kind not in KINDS:
        msg = f"expected one of {', '.join(KINDS)}"
        raise ValueError(msg)
    return kind


_Moment = Annotated[float, AfterValidator(check_moment)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StoredJob(_Model):
    """A job without its secrets (see ``tables.JobRow``)."""

    id: str = Field(pattern=r"^[0-9a-f]{24}$")
    status: str
    kind: Annotated[str, AfterValidator(_check_kind)]
    name: str
    request: Mapping[str, Any]
    destination: Mapping[str, Any]
    fate: Outcome
    seconds: Annotated[float, Field(ge=0)] | None
    created_at: _Moment
    started_at: _Moment | None
    ended_at: _Moment | None
    reason: str | None
    delivered_to: str | None

    @property
    def is_possible(self) -> bool:
        """Whether it has ended, or can do so without the secrets of its destination."""
        return self.reason is not None or self.delivered_to is not None or HIDDEN not in self.destination.values()


class FateState(Fate):
    seen: int = Field(ge=0)


class FaultState(Fault):
    hits: int = Field(ge=0)


class AccountData(_Model):
    """An account, without its keys.

    :param change: how it differs from the account of the start.
    """

    change: AccountChange
    behaviour: Behaviour
    faults: tuple[FaultState, ...] = Field(max_length=MAX_RULES)
    fates: tuple[FateState, ...] = Field(max_length=MAX_RULES)
    jobs: tuple[StoredJob, ...] = Field(max_length=MAX_JOBS)


class ClockState(_Model):
    """The clock (see ``clock.Clock``)."""

    offset: float
    stopped_at: _Moment | None

    @model_validator(mode="after")
    def _check_now(self) -> Self:
        check_moment(time.time() + self.offset)
        return self


class State(_Model):
    """The whole state.

    :param files: by path in the data folder.
    """

    version: Literal[1]
    clock: ClockState
    accounts: Mapping[str, AccountData]
    files: Mapping[Annotated[str, AfterValidator(_check_path)], Base64Bytes]

    @model_validator(mode="after")
    def _check_unique(self) -> Self:
        ids = [job.id for account in self.accounts.values() for job in account.jobs]
        if len(ids) != len(set(ids)):
            msg = "two jobs have the same id"
            raise ValueError(msg)
        return self


def export_state(accounts: Accounts, clock: Clock, data: Path) -> dict[str, Any]:
    """Return the state as JSON.

    :raises ValueError: it has too many jobs, or its files are too large.
    """
    files: dict[str, str] = {}
    size = 0
    for path in _files(data):
        size += path.stat().st_size
        if size > MAX_STATE / 2:
            msg = (
                f"The delivered files have more than {MAX_STATE // 2} bytes: delete some of them, or reset the sandbox."
            )
            raise ValueError(msg)
        files[path.relative_to(data).as_posix()] = base64.b64encode(path.read_bytes()).decode()
    return {
        "version": VERSION,
        "clock": {"offset": clock.offset, "stopped_at": clock.stopped_at},
        "accounts": {state.account.name: _export_account(state) for state in accounts.states},
        "files": files,
    }


def import_state(state: State, accounts: Accounts, clock: Clock, data: Path) -> None:
    """Add a state to a sandbox that was reset, and resume its jobs.

    A job that has not ended, and cannot without the secrets of its destination, fails.
    """
    clock.restore(state.clock.offset, state.clock.stopped_at)
    for path, content in state.files.items():
        target = data / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for own in accounts.states:
        if (given := state.accounts.get(own.account.name)) is None:
            continue
        own.change(given.change)
        own.store.set_behaviour(given.behaviour)
        for fault in given.faults:
            own.store.add_fault(fault.model_dump(exclude={"times", "hits"}), fault.times)
        for fate in given.fates:
            own.store.add_fate(Fate.model_validate(fate.model_dump(exclude={"seen"})), fate.seen)
        own.store.restore_jobs([_import_job(job, own.account.name, clock.now()) for job in given.jobs])
        own.runner.resume()


def _files(data: Path) -> Iterator[Path]:
    for folder in _FOLDERS:
        for path in sorted((data / folder).rglob("*")):
            # A client may have left a link in the SFTP folder, which may point anywhere.
            if path.is_file() and not path.is_symlink():
                yield path


def _export_account(state: AccountState) -> dict[str, Any]:
    store = state.store
    jobs = store.jobs(MAX_JOBS + 1)
    if len(jobs) > MAX_JOBS:
        msg = f"The account {state.account.name} has more than {MAX_JOBS} jobs: reset it."
        raise ValueError(msg)
    return {
        "change": store.account_change.model_dump(mode="json", by_alias=True),
        "behaviour": store.behaviour.model_dump(),
        "faults": store.faults(),
        "fates": store.fates(),
        # Oldest first, the order in which they are added again.
        "jobs": [{name: getattr(job, name) for name in StoredJob.model_fields} for job in reversed(jobs)],
    }


def _import_job(job: StoredJob, account: str, now: float) -> JobRow:
    members = {**job.model_dump(mode="json"), "account": account, "secrets": None}
    if not job.is_possible:
        reason = "The secrets of its destination were not exported."
        members |= {"status": "Failed", "reason": reason, "ended_at": now}
    return JobRow(**members)
