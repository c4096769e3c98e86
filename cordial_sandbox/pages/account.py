"""Account: what the pages show and change. Only this module of the pages reads the store."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, select

from cordial_sandbox import accounts
from cordial_sandbox.account_state import AccountState
from cordial_sandbox.exports import KINDS
from cordial_sandbox.faults import Fault
from cordial_sandbox.jobs import RUNNING
from cordial_sandbox.pages.files import find_file
from cordial_sandbox.pages.hints import Known
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.store import JobQuery, Store
from cordial_sandbox.tables import JobRow, RequestRow
from cordial_sandbox.trends import contacts, days_between
from cordial_sandbox.validation import DESTINATION_MEMBERS, DESTINATION_TYPES

PER_PAGE = 50

#: How many jobs a misspelled id is compared with.
_NEIGHBORS = 500

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of the steps to an end a job has made; ``step`` is None in a status that Cordial does not document."""

    step: int | None
    steps: int = len(RUNNING)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the pages show it: without secrets.

    :param days: its timeframe in words.
    :param request: the body that was sent, with the secrets masked.
    :param is_settled: whether nothing is left to do: the file of a Done job may still have to be delivered.
    :param seconds: how long the job took, or has run so far.
    :param file: the delivered file, if it is inside the data folder.
    """

    id: str
    name: str
    status: str
    days: str
    audiences: Sequence[str]
    request: Mapping[str, Any]
    reason: str | None
    delivered_to: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    is_settled: bool
    seconds: float
    file: Path | None

    @property
    def is_running(self) -> bool:
        return self.ended_at is None

    @property
    def progress(self) -> Progress:
        return Progress(RUNNING.index(self.status) if self.status in RUNNING else None)

    @property
    def place(self) -> str:
        """The destination in a few words."""
        sent = self.request["destination"]
        bucket = sent.get("aws_bucket") or sent.get("gcs_bucket") or sent.get("container") or sent.get("server")
        return " ".join(str(part) for part in (sent["type"], bucket, sent.get("path")) if part)

    @property
    def history(self) -> list[tuple[str, float]]:
        """The changes of the status whose times are known, oldest first."""
        moments = [("Created", self.created_at), ("Started", self.started_at), (self.status, self.ended_at)]
        return [(change, moment) for change, moment in moments if moment is not None]


@dataclass(frozen=True, slots=True)
class AudienceView:
    """An audience and its snapshots of the newest days, None where a snapshot is missing."""

    name: str
    analytics: bool
    since: date
    days: Sequence[date]
    snapshots: Sequence[int | None]

    @property
    def last(self) -> tuple[date, int] | None:
        """The day and the contacts of the last snapshot."""
        known = [(day, count) for day, count in zip(self.days, self.snapshots, strict=True) if count is not None]
        return known[-1] if known else None


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the sandbox.

    :param data: the sandbox's own folder.
    """

    state: AccountState
    folder: SftpFolder
    data: Path

    @property
    def owner(self) -> accounts.Account:
        """The account with its audiences and its time zone, which can change."""
        return self.state.account

    @property
    def store(self) -> Store:
        return self.state.store

    # Jobs.

    def jobs(self, page: int, status: str | None = None) -> tuple[list[JobView], bool]:
        """Return a page of jobs, newest first, and whether there are older ones."""
        rows = self._list_jobs(offset=(page - 1) * PER_PAGE, limit=PER_PAGE + 1, status=status)
        return [self._view(row) for row in rows[:PER_PAGE]], len(rows) > PER_PAGE

    def find_job(self, job_id: str) -> JobView | None:
        row = self.store.find_job(job_id)
        return None if row is None else self._view(row)

    def _list_jobs(self, *, offset: int, limit: int, status: str | None = None) -> Sequence[JobRow]:
        return self.store.list_jobs(
            JobQuery(
                created_by=math.inf,
                newest=None,
                status=status,
                times=(),
                oldest_first=False,
                offset=offset,
                limit=limit,
            )
        )

    def _view(self, row: JobRow) -> JobView:
        request = {
            "name": row.name,
            **row.request,
            "destination": row.destination,
        }
        return JobView(
            id=row.id,
            name=row.name,
            status=row.status,
            days=_describe_days(row.start, row.end),
            audiences=row.audiences,
            request=hide_secrets(request),
            reason=row.reason,
            delivered_to=row.delivered_to,
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            is_settled=row.is_settled,
            seconds=(self.store.clock.now() if row.ended_at is None else row.ended_at) - row.created_at,
            file=self._find_file(row),
        )

    def _find_file(self, row: JobRow) -> Path | None:
        if row.delivered_to is None:
            return None
        if row.destination["type"] == "aws":
            return find_file(self.data, row.delivered_to, below="downloads")
        return find_file(self.folder.root, row.delivered_to) if self._is_own_server(row.destination) else None

    def _is_own_server(self, destination: Mapping[str, Any]) -> bool:
        own = json.loads((self.data / "sandbox.json").read_text())["sftp"]
        return (
            destination["type"] == "sftp"
            and destination["server"] in _LOOPBACK
            and str(destination.get("port") or 22) == str(own["port"])
        )

    # Audiences.

    def last_day(self) -> date:
        """Return the last day that is over for the account."""
        return self.owner.today(self.store.clock.now()) - timedelta(days=1)

    def audiences(self, days: int) -> list[AudienceView]:
        """Return all audiences with the snapshots of the newest days."""
        end = self.last_day()
        period = days_between(end - timedelta(days=days - 1), end)
        return [_view_audience(audience, period) for audience in self.owner.audiences]

    def tracked_names(self) -> list[str]:
        """Return the names of the audiences that have snapshots."""
        return [audience.name for audience in self.owner.audiences if audience.analytics]

    def trend(self, name: str, days: Sequence[date]) -> AudienceView:
        return _view_audience(self.owner.audiences_by_name[name], days)

    # Faults.

    def faults(self) -> list[dict[str, Any]]:
        """Return the active faults; ``times`` is how many requests each still affects, ``hits`` how many it has."""
        return self.store.faults()

    def add_fault(self, fault: Fault) -> None:
        self.store.add_fault(fault.model_dump(exclude={"times"}), fault.times)

    def remove_fault(self, fault: Mapping[str, Any]) -> None:
        """Remove the first fault like this one, whatever its ``times`` and ``hits``; nothing if it has been used up."""
        self.store.remove_fault(fault)

    def clear_faults(self) -> None:
        self.store.clear_faults()

    # Requests.

    def requests(
        self, page: int, *, kind: str | None = None, statuses: range | None = None, only_faults: bool = False
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return a page of recorded requests, newest first, and whether there are older ones; secrets are masked.

        :param kind: as ``Fault.request`` names it.
        """
        conditions: list[ColumnElement[bool]] = [RequestRow.account == self.store.account]
        if kind is not None:
            conditions.append(RequestRow.request["request"].as_string() == kind)
        if statuses is not None:
            conditions.append(RequestRow.request["status"].as_integer().between(statuses.start, statuses.stop - 1))
        if only_faults:
            conditions.append(RequestRow.request["fault"].as_string().is_not(None))
        statement = select(RequestRow).where(*conditions).order_by(RequestRow.number.desc())
        with self.store.session() as session:
            rows = session.scalars(statement.offset((page - 1) * PER_PAGE).limit(PER_PAGE + 1)).all()
        shown = [{"number": row.number, **hide_secrets(row.request)} for row in rows[:PER_PAGE]]
        return shown, len(rows) > PER_PAGE

    def known(self, *, with_jobs: bool) -> Known:
        """Return what a rejected request is compared with."""
        return Known(
            endpoints={**{f"/v2/{path}": "POST" for path in (*KINDS, "audiencecount")}, "/v2/jobs": "GET"},
            export_members=sorted(
                {"name", "exportType", "destination"}.union(*(kind.members for kind in KINDS.values()))
            ),
            destination_members=sorted(DESTINATION_MEMBERS),
            destination_types=DESTINATION_TYPES,
            audiences=self.tracked_names(),
            untracked=[audience.name for audience in self.owner.audiences if not audience.analytics],
            job_ids=[row.id for row in self._list_jobs(offset=0, limit=_NEIGHBORS)] if with_jobs else (),
        )


#: Parts of the names of members whose value is never shown.
_SECRET_WORDS = ("password", "secret", "access_key", "authorization", "cookie", "api_key", "api-key", "token")


def hide_secrets(value: Any) -> Any:
    """Return JSON with each member masked whose name suggests a secret."""
    if isinstance(value, Mapping):
        return {name: "***" if item and _is_secret(name) else hide_secrets(item) for name, item in value.items()}
    return [hide_secrets(item) for item in value] if isinstance(value, list) else value


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)


def _describe_days(start: date | None, end: date | None) -> str:
    if start is None or end is None:
        return ""
    count = (end - start).days + 1
    return f"{start}" if count == 1 else f"{start} to {end} ({count} days)"


def _view_audience(audience: accounts.Audience, days: Sequence[date]) -> AudienceView:
    snapshots = [contacts(audience, day) if audience.analytics else None for day in days]
    return AudienceView(audience.name, audience.analytics, audience.since, days, snapshots)
