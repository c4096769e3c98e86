"""Everything the sandbox knows, in one SQLite file.

Each change is committed before anything that follows from it is done, so that a sandbox that is killed goes on where it
was. What is secret in a destination is here only until the job has ended.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, create_engine, delete, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cordial_sandbox.settings import Behaviour
from cordial_sandbox.validation import ExportRequest

SECRET_MEMBERS = ("password", "aws_access_key_id", "aws_secret_access_key")

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


class Store:
    """The one file; used from one thread.

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

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        self._engine.dispose()
        os.close(self._lock)

    def fact(self, key: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a fact; ``default`` becomes it where there is none yet."""
        with self.session() as session:
            row = session.get(Fact, key)
            if row is None and default is not None:
                session.add(Fact(key=key, value=dict(default)))
            return row.value if row else dict(default or {})

    def remember(self, key: str, value: Mapping[str, Any]) -> None:
        with self.session() as session:
            session.merge(Fact(key=key, value=dict(value)))

    @property
    def behaviour(self) -> Behaviour:
        return Behaviour.model_validate(self.fact("behaviour"))

    def add_job(self, request: ExportRequest) -> JobRow:
        """Keep a new job, Scheduled."""
        destination = dict(request.destination)
        hidden = {member: destination[member] for member in SECRET_MEMBERS if destination.get(member)}
        job = JobRow(
            id=secrets.token_hex(12),
            status="Scheduled",
            name=request.name,
            start=request.start,
            end=request.end,
            audiences=list(request.audiences),
            destination={**destination, **dict.fromkeys(hidden, "***")},
            secrets=hidden,
            created_at=now().timestamp(),
        )
        with self.session() as session:
            session.add(job)
        return job

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

    def change_job(self, job_id: str, **changes: Any) -> JobRow:
        """Change a job; its secrets go as soon as nothing is left to do."""
        with self.session() as session:
            job = session.scalars(select(JobRow).where(JobRow.id == job_id)).one()
            for key, value in changes.items():
                setattr(job, key, value)
            if job.is_settled:
                job.secrets = {}
        if job.is_settled:
            self._forget_overwritten()
        return job

    def add_fault(self, fault: Mapping[str, Any], times: int | None) -> None:
        with self.session() as session:
            session.add(FaultRow(fault=dict(fault), left=times))

    def faults(self) -> list[dict[str, Any]]:
        with self.session() as session:
            rows = session.scalars(select(FaultRow).order_by(FaultRow.number)).all()
            return [{**row.fault, "times": row.left} for row in rows]

    def take_fault(self, kind: str) -> dict[str, Any] | None:
        """Return the first fault that is for this kind of request, once less often left."""
        with self.session() as session:
            for row in session.scalars(select(FaultRow).order_by(FaultRow.number)):
                if row.fault["request"] not in (kind, "any"):
                    continue
                if row.left is not None:
                    row.left -= 1
                    if row.left <= 0:
                        session.delete(row)
                return row.fault
        return None

    def clear_faults(self) -> None:
        with self.session() as session:
            session.execute(delete(FaultRow))

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


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # Enough against the end of this process; that of the machine may cost the last changes.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
