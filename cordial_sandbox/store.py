"""The state of an account, in the sandbox's database.

Each change is committed before the sandbox acts on it, so that a killed sandbox resumes where it stopped. The secrets
of a destination are stored only until its job is settled.
"""

from __future__ import annotations

import operator
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Integer, Select, cast, delete, select, update
from sqlalchemy.orm import Session

from cordial_sandbox.clock import Clock
from cordial_sandbox.database import Database
from cordial_sandbox.exports.kind import ExportRequest
from cordial_sandbox.fates import Fate
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.tables import FateRow, FaultRow, JobRow, RequestRow

#: Stands for a secret wherever a destination is shown.
HIDDEN = "***"

SECRET_MEMBERS = ("password", "aws_access_key_id", "aws_secret_access_key")

#: The comparisons that a filter on a job's start or end time may use.
COMPARISONS: Mapping[str, Callable[[Any, float], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}

#: Where the files on the Jobs page are, in the sandbox's folder.
DOWNLOADS = "downloads/"

_MAX_REQUESTS = 20_000

_Row = TypeVar("_Row", JobRow, FaultRow, FateRow, RequestRow)


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs to list, and in which order.

    :param created_by: timestamp after which a job is too new to be listed.
    :param newest: how many of the newest jobs to search; None for all.
    :param job_names: paths of the kinds of exports to list; None for all.
    :param times: filters on times, each of ``start`` or ``end``, a comparison, and a timestamp.
    """

    created_by: float
    newest: int | None
    status: str | None
    times: Sequence[tuple[str, str, float]]
    oldest_first: bool
    offset: int
    limit: int
    job_names: Sequence[str] | None = None


class Store:
    """The state of one account: its behavior, jobs, faults, fates, and journal.

    :param account: name of the account.
    """

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self.account = account
        #: How often this process was reset.
        self.resets = 0
        self._faults = self._read_faults()

    @property
    def clock(self) -> Clock:
        return self._database.clock

    def session(self) -> AbstractContextManager[Session]:
        return self._database.session()

    def check(self) -> None:
        """Raise an error if the database does not answer."""
        with self.session() as session:
            session.execute(select(1))

    # Behavior.

    @property
    def behaviour(self) -> Behaviour:
        return Behaviour.model_validate(self._database.get_fact(f"behaviour of {self.account}"))

    def set_behaviour(self, behaviour: Behaviour) -> None:
        self._database.set_fact(f"behaviour of {self.account}", behaviour.model_dump())

    def set_first_behaviour(self, behaviour: Behaviour) -> None:
        """Store the behavior that a reset restores, and make it current at the first start."""
        self._database.set_fact("first behaviour", behaviour.model_dump())
        self._database.get_fact(f"behaviour of {self.account}", behaviour.model_dump())

    # Jobs.

    def add_job(self, request: ExportRequest) -> JobRow:
        """Store a new Scheduled job and return it."""
        (job,) = self.add_jobs(request, [None])
        return job

    def add_jobs(self, request: ExportRequest, durations: Sequence[float | None]) -> Sequence[JobRow]:
        """Store one new Scheduled job per duration, in one transaction, and return them."""
        jobs = [self._build_job(request, seconds) for seconds in durations]
        with self.session() as session:
            for job in jobs:
                job.fate = _take_fate(session, self.account, request)
            session.add_all(jobs)
        return jobs

    def restore_jobs(self, jobs: Sequence[JobRow]) -> None:
        """Store jobs of an exported state, oldest first."""
        with self.session() as session:
            session.add_all(jobs)

    def find_job(self, job_id: str) -> JobRow | None:
        with self.session() as session:
            return session.scalar(self._own(JobRow).where(JobRow.id == job_id))

    def job(self, job_id: str) -> JobRow:
        """Return a job that must exist."""
        with self.session() as session:
            return session.scalars(self._own(JobRow).where(JobRow.id == job_id)).one()

    def jobs(self) -> Sequence[JobRow]:
        """Return all jobs, newest first."""
        with self.session() as session:
            return session.scalars(self._own(JobRow).order_by(JobRow.number.desc())).all()

    def unsettled_jobs(self) -> Sequence[JobRow]:
        """Return the jobs that have work left, oldest first."""
        unsettled = (JobRow.status != "Failed") & (
            (JobRow.status != "Done") | (JobRow.delivered_to.is_(None) & JobRow.reason.is_(None))
        )
        with self.session() as session:
            return session.scalars(self._own(JobRow).where(unsettled).order_by(JobRow.number)).all()

    def list_jobs(self, query: JobQuery) -> Sequence[JobRow]:
        visible, newest_first = JobRow.created_at <= query.created_by, JobRow.number.desc()
        statement = self._own(JobRow).where(visible, *(_is_within(*condition) for condition in query.times))
        if query.job_names is not None:
            statement = statement.where(JobRow.kind.in_(query.job_names))
        if query.newest is not None:
            own = select(JobRow.number).where(JobRow.account == self.account, visible)
            statement = statement.where(JobRow.number.in_(own.order_by(newest_first).limit(query.newest)))
        if query.status is not None:
            statement = statement.where(JobRow.status == query.status)
        statement = statement.order_by(JobRow.number if query.oldest_first else newest_first)
        with self.session() as session:
            return session.scalars(statement.offset(query.offset).limit(query.limit)).all()

    def change_job(self, job: JobRow, **changes: Any) -> JobRow:
        """Store changes to a job and return the changed job; erase its secrets once it is settled."""
        with self.session() as session:
            changed = session.merge(job, load=False)
            for key, value in changes.items():
                setattr(changed, key, value)
            if changed.is_settled:
                changed.secrets = {}
        if job.secrets and not changed.secrets:
            self._database.purge_overwritten()
        return changed

    def find_files_before(self, ended_before: float) -> Sequence[str]:
        """Return the ids of the jobs whose files on the Jobs page are older than a timestamp, and forget the files."""
        old = (
            JobRow.account == self.account,
            JobRow.ended_at < ended_before,
            JobRow.delivered_to.startswith(DOWNLOADS),
        )
        with self.session() as session:
            found = session.scalars(select(JobRow.id).where(*old)).all()
            session.execute(
                update(JobRow).where(*old).values(delivered_to=None, reason="The file was deleted after 30 days.")
            )
        return found

    def delete_jobs_before(self, ended_before: float) -> None:
        """Delete the jobs that ended before a timestamp."""
        with self.session() as session:
            session.execute(delete(JobRow).where(JobRow.account == self.account, JobRow.ended_at < ended_before))

    # Faults.

    def add_fault(self, fault: Mapping[str, Any], times: int | None) -> None:
        with self.session() as session:
            session.add(FaultRow(account=self.account, fault=dict(fault), left=times))
        self._faults = self._read_faults()

    def faults(self) -> list[dict[str, Any]]:
        return [{**row.fault, "times": row.left} for row in self._faults]

    def take_fault(self, kinds: Collection[str | None]) -> dict[str, Any] | None:
        """Return the first fault for one of these kinds of requests and count one use of it, or return None."""
        taken = next((row for row in self._faults if row.fault["request"] in (*kinds, "any")), None)
        if taken is None:
            return None
        if taken.left is not None:
            with self.session() as session:
                row = session.merge(taken, load=False)
                row.left = taken.left - 1
                if row.left <= 0:
                    session.delete(row)
            self._faults = self._read_faults()
        return taken.fault

    def clear_faults(self) -> None:
        self._clear(FaultRow)
        self._faults = self._read_faults()

    def _read_faults(self) -> Sequence[FaultRow]:
        with self.session() as session:
            return session.scalars(self._own(FaultRow).order_by(FaultRow.number)).all()

    # Fates.

    def add_fate(self, fate: Fate, seen: int = 0) -> None:
        """Store a fate.

        :param seen: how many exports matched before.
        """
        with self.session() as session:
            session.add(FateRow(account=self.account, fate=fate.model_dump(mode="json"), seen=seen))

    def fates(self) -> list[dict[str, Any]]:
        with self.session() as session:
            rows = session.scalars(self._own(FateRow).order_by(FateRow.number))
            return [{**row.fate, "seen": row.seen} for row in rows]

    def clear_fates(self) -> None:
        self._clear(FateRow)

    # Requests.

    def add_request(self, request: Mapping[str, Any]) -> None:
        with self.session() as session:
            row = RequestRow(account=self.account, request=dict(request))
            session.add(row)
            session.flush()
            session.execute(delete(RequestRow).where(RequestRow.number <= row.number - _MAX_REQUESTS))

    def requests(self) -> list[dict[str, Any]]:
        with self.session() as session:
            return [row.request for row in session.scalars(self._own(RequestRow).order_by(RequestRow.number))]

    def clear_requests(self) -> None:
        self._clear(RequestRow)

    def reset(self) -> None:
        """Delete jobs, faults, fates, and requests, and restore the behavior of the start."""
        self.resets += 1
        self._clear(JobRow, FaultRow, FateRow, RequestRow)
        self._faults = self._read_faults()
        self.set_behaviour(Behaviour.model_validate(self._database.get_fact("first behaviour")))
        self._database.purge_overwritten()

    def _clear(self, *tables: type[JobRow | FaultRow | FateRow | RequestRow]) -> None:
        with self.session() as session:
            for table in tables:
                session.execute(delete(table).where(table.account == self.account))

    def _own(self, table: type[_Row]) -> Select[_Row]:
        return select(table).where(table.account == self.account)

    def _build_job(self, request: ExportRequest, seconds: float | None) -> JobRow:
        destination = dict(request.destination)
        hidden = {member: destination[member] for member in SECRET_MEMBERS if destination.get(member)}
        return JobRow(
            id=secrets.token_hex(12),
            account=self.account,
            status="Scheduled",
            kind=request.kind,
            name=request.name,
            request=dict(request.request),
            destination={**destination, **dict.fromkeys(hidden, HIDDEN)},
            secrets=hidden,
            fate={},
            seconds=seconds,
            created_at=self.clock.now(),
            # Every column is set, so that the row is usable without reading it back.
            started_at=None,
            ended_at=None,
            reason=None,
            delivered_to=None,
        )


def _take_fate(session: Session, account: str, request: ExportRequest) -> dict[str, Any]:
    """Return the outcome of the first fate that applies to an export, and count it in every fate that matches."""
    outcome: dict[str, Any] = {}
    for row in session.scalars(select(FateRow).where(FateRow.account == account).order_by(FateRow.number)):
        fate = Fate.model_validate(row.fate)
        if not fate.matches(request.kind, request.name, request.request):
            continue
        row.seen += 1
        if not outcome and fate.nth in (None, row.seen):
            outcome = fate.outcome()
    return outcome


def _is_within(edge: str, comparison: str, limit: float) -> ColumnElement[bool]:
    timestamp = JobRow.started_at if edge == "start" else JobRow.ended_at
    # In whole seconds, as a record shows them: a filter with the time of a record finds its job.
    is_within: ColumnElement[bool] = COMPARISONS[comparison](cast(timestamp, Integer), limit)
    return is_within
