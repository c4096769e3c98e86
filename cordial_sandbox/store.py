"""Everything the sandbox knows, in one SQLite file.

Each change is committed before anything that follows from it is done, so that a sandbox that is killed goes on where it
was. What is secret in a destination is here only until the job has ended.
"""

from __future__ import annotations

import fcntl
import operator
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, ColumnElement, Integer, cast, create_engine, delete, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cordial_sandbox.settings import Behaviour
from cordial_sandbox.validation import ExportRequest

SECRET_MEMBERS = ("password", "aws_access_key_id", "aws_secret_access_key")

#: What the moment of a job's start or end is held against a limit by.
COMPARISONS: Mapping[str, Callable[[Any, float], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}

_REQUESTS_KEPT = 20_000


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012 - as SQLAlchemy declares it


class Fact(Base):
    """A fact about the sandbox itself: ports, passwords, behaviour."""

    __tablename__ = "facts"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class JobRow(Base):
    __tablename__ = "jobs"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    name: Mapped[str]
    start: Mapped[date]
    end: Mapped[date]
    audiences: Mapped[list[str]]
    destination: Mapped[dict[str, Any]]
    #: With secrets; empty once the job has ended and its file is delivered.
    secrets: Mapped[dict[str, Any]]
    #: How long it takes; None: as long as the account's jobs take.
    seconds: Mapped[float | None]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    reason: Mapped[str | None]
    delivered_to: Mapped[str | None]

    @property
    def has_ended(self) -> bool:
        return self.status in ("Done", "Failed")

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do: a Done job's file may still be on its way."""
        return self.status == "Failed" or (self.status == "Done" and (self.delivered_to or self.reason) is not None)


class FaultRow(Base):
    __tablename__ = "faults"
    number: Mapped[int] = mapped_column(primary_key=True)
    fault: Mapped[dict[str, Any]]
    left: Mapped[int | None]


class RequestRow(Base):
    __tablename__ = "requests"
    number: Mapped[int] = mapped_column(primary_key=True)
    request: Mapped[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs are to be found, and in which order.

    :param created_by: the moment after which a job is too new.
    :param newest: among how many of the newest to look; None: among all.
    :param times: ``start`` or ``end``, how to compare it, and with what.
    """

    created_by: float
    newest: int | None
    status: str | None
    times: Sequence[tuple[str, str, float]]
    oldest_first: bool
    offset: int
    limit: int


class Store:
    """The one file; used from one thread.

    Nobody else writes to it: so what every request asks for is in memory too.

    :param data: the folder that it is in.
    :raises RuntimeError: another sandbox uses that folder.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(data)
        #: How often this process was told to forget everything.
        self.resets = 0
        path = data / "sandbox.sqlite"
        path.touch(mode=0o600)
        # The parameters of a statement that fails would be in the log, and among them a destination's secrets.
        self._engine = create_engine(
            f"sqlite:///{path}", connect_args={"check_same_thread": False}, hide_parameters=True
        )
        event.listen(self._engine, "connect", _configure)
        Base.metadata.create_all(self._engine)
        # The last sandbox may have been killed between the end of a job and this.
        self._forget_overwritten()
        with self.session() as session:
            self._facts = {row.key: row.value for row in session.scalars(select(Fact))}
        self._faults = self._kept_faults()

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        self._engine.dispose()
        os.close(self._lock)

    def fact(self, key: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a fact; ``default`` becomes it where there is none yet."""
        if key not in self._facts and default is not None:
            self.remember(key, default)
        return dict(self._facts.get(key, {}))

    def remember(self, key: str, value: Mapping[str, Any]) -> None:
        with self.session() as session:
            session.merge(Fact(key=key, value=dict(value)))
        self._facts[key] = dict(value)

    @property
    def behaviour(self) -> Behaviour:
        return Behaviour.model_validate(self.fact("behaviour"))

    def add_job(self, request: ExportRequest) -> JobRow:
        """Keep a new job, Scheduled."""
        (job,) = self.add_jobs(request, [None])
        return job

    def add_jobs(self, request: ExportRequest, durations: Sequence[float | None]) -> Sequence[JobRow]:
        """Keep a new job, Scheduled, for each of some durations: all of them, or none."""
        destination = dict(request.destination)
        hidden = {member: destination[member] for member in SECRET_MEMBERS if destination.get(member)}
        jobs = [
            JobRow(
                id=secrets.token_hex(12),
                status="Scheduled",
                name=request.name,
                start=request.start,
                end=request.end,
                audiences=list(request.audiences),
                destination={**destination, **dict.fromkeys(hidden, "***")},
                secrets=hidden,
                seconds=seconds,
                created_at=now().timestamp(),
                # All that a job has: its row is used on without being read again.
                started_at=None,
                ended_at=None,
                reason=None,
                delivered_to=None,
            )
            for seconds in durations
        ]
        with self.session() as session:
            session.add_all(jobs)
        return jobs

    def find_job(self, job_id: str) -> JobRow | None:
        with self.session() as session:
            return session.scalar(select(JobRow).where(JobRow.id == job_id))

    def job(self, job_id: str) -> JobRow:
        """Return a job that is known to be there."""
        with self.session() as session:
            return session.scalars(select(JobRow).where(JobRow.id == job_id)).one()

    def jobs(self) -> Sequence[JobRow]:
        """Return all jobs, the newest first."""
        with self.session() as session:
            return session.scalars(select(JobRow).order_by(JobRow.number.desc())).all()

    def list_jobs(self, query: JobQuery) -> Sequence[JobRow]:
        visible, newest_first = JobRow.created_at <= query.created_by, JobRow.number.desc()
        asked = select(JobRow).where(visible, *(_is_within(*time) for time in query.times))
        if query.newest is not None:
            newest = select(JobRow.number).where(visible).order_by(newest_first).limit(query.newest)
            asked = asked.where(JobRow.number.in_(newest))
        if query.status is not None:
            asked = asked.where(JobRow.status == query.status)
        asked = asked.order_by(JobRow.number if query.oldest_first else newest_first)
        with self.session() as session:
            return session.scalars(asked.offset(query.offset).limit(query.limit)).all()

    def change_job(self, job: JobRow, **changes: Any) -> JobRow:
        """Keep a job's changes, and return it with them; its secrets go as soon as nothing is left to do."""
        with self.session() as session:
            changed = session.merge(job, load=False)
            for key, value in changes.items():
                setattr(changed, key, value)
            if changed.is_settled:
                changed.secrets = {}
        if job.secrets and not changed.secrets:
            self._forget_overwritten()
        return changed

    def add_fault(self, fault: Mapping[str, Any], times: int | None) -> None:
        with self.session() as session:
            session.add(FaultRow(fault=dict(fault), left=times))
        self._faults = self._kept_faults()

    def faults(self) -> list[dict[str, Any]]:
        return [{**row.fault, "times": row.left} for row in self._faults]

    def take_fault(self, kind: str) -> dict[str, Any] | None:
        """Return the first fault that is for this kind of request, once less often left."""
        taken = next((row for row in self._faults if row.fault["request"] in (kind, "any")), None)
        if taken is None:
            return None
        if taken.left is not None:
            with self.session() as session:
                row = session.merge(taken, load=False)
                row.left = taken.left - 1
                if row.left <= 0:
                    session.delete(row)
            self._faults = self._kept_faults()
        return taken.fault

    def clear_faults(self) -> None:
        with self.session() as session:
            session.execute(delete(FaultRow))
        self._faults = self._kept_faults()

    def _kept_faults(self) -> Sequence[FaultRow]:
        with self.session() as session:
            return session.scalars(select(FaultRow).order_by(FaultRow.number)).all()

    def add_request(self, request: Mapping[str, Any]) -> None:
        with self.session() as session:
            row = RequestRow(request=dict(request))
            session.add(row)
            session.flush()
            session.execute(delete(RequestRow).where(RequestRow.number <= row.number - _REQUESTS_KEPT))

    def requests(self) -> list[dict[str, Any]]:
        with self.session() as session:
            return [row.request for row in session.scalars(select(RequestRow).order_by(RequestRow.number))]

    def clear_requests(self) -> None:
        with self.session() as session:
            session.execute(delete(RequestRow))

    def reset(self) -> None:
        """Forget jobs, faults and requests, and behave as at the start."""
        self.resets += 1
        with self.session() as session:
            for table in (JobRow, FaultRow, RequestRow):
                session.execute(delete(table))
        self._faults = self._kept_faults()
        self.remember("behaviour", self.fact("first behaviour"))
        self._forget_overwritten()

    def _forget_overwritten(self) -> None:
        # The log of changes would keep what was there until it is full.
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _locked(data: Path) -> int:
    """Keep others out of a folder for as long as this process lives: two sandboxes would run the same jobs."""
    folder = os.open(data, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        msg = f"Another sandbox uses {data}."
        raise RuntimeError(msg) from None
    return folder


def _is_within(edge: str, comparison: str, limit: float) -> ColumnElement[bool]:
    at = JobRow.started_at if edge == "start" else JobRow.ended_at
    # In whole seconds, as a record shows them: who sends back what was shown finds the job.
    is_within: ColumnElement[bool] = COMPARISONS[comparison](cast(at, Integer), limit)
    return is_within


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # Enough against the end of this process; that of the machine may cost the last changes.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
