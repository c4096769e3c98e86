"""The sandbox's state, in one SQLite file.

Each change is committed before the sandbox acts on it, so that a killed sandbox resumes where it stopped. The secrets
of a destination are stored only until its job is settled.
"""

from __future__ import annotations

import fcntl
import operator
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, Integer, cast, create_engine, delete, event, select
from sqlalchemy.orm import Session

from cordial_sandbox.settings import Behaviour
from cordial_sandbox.tables import Base, Fact, FaultRow, JobRow, RequestRow
from cordial_sandbox.validation import ExportRequest

SECRET_MEMBERS = ("password", "aws_access_key_id", "aws_secret_access_key")

#: The comparisons that a filter on a job's start or end time may use.
COMPARISONS: Mapping[str, Callable[[Any, float], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}

_MAX_REQUESTS = 20_000


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs to list, and in which order.

    :param created_by: timestamp after which a job is too new to be listed.
    :param newest: how many of the newest jobs to search; None for all.
    :param times: filters on times, each of ``start`` or ``end``, a comparison, and a timestamp.
    """

    created_by: float
    newest: int | None
    status: str | None
    times: Sequence[tuple[str, str, float]]
    oldest_first: bool
    offset: int
    limit: int


class Store:
    """The database of one sandbox, used from one thread.

    No other process writes to it, so facts and faults, which every request needs, are cached in memory.

    :param data: folder that holds the database.
    :raises RuntimeError: another sandbox uses the folder.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_folder(data)
        #: How often this process was reset.
        self.resets = 0
        self._engine = _create_engine(data / "sandbox.sqlite")
        Base.metadata.create_all(self._engine)
        # The last sandbox may have been killed after a job ended and before its secrets were overwritten.
        self._purge_overwritten()
        with self.session() as session:
            self._facts = {row.key: row.value for row in session.scalars(select(Fact))}
        self._faults = self._read_faults()

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        self._engine.dispose()
        os.close(self._lock)

    # Facts.

    def get_fact(self, key: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a fact; store ``default`` first if the fact is unknown."""
        if key not in self._facts and default is not None:
            self.set_fact(key, default)
        return dict(self._facts.get(key, {}))

    def set_fact(self, key: str, value: Mapping[str, Any]) -> None:
        with self.session() as session:
            session.merge(Fact(key=key, value=dict(value)))
        self._facts[key] = dict(value)

    @property
    def behaviour(self) -> Behaviour:
        return Behaviour.model_validate(self.get_fact("behaviour"))

    # Jobs.

    def add_job(self, request: ExportRequest) -> JobRow:
        """Store a new Scheduled job and return it."""
        (job,) = self.add_jobs(request, [None])
        return job

    def add_jobs(self, request: ExportRequest, durations: Sequence[float | None]) -> Sequence[JobRow]:
        """Store one new Scheduled job per duration, in one transaction, and return them."""
        jobs = [_build_job(request, seconds) for seconds in durations]
        with self.session() as session:
            session.add_all(jobs)
        return jobs

    def find_job(self, job_id: str) -> JobRow | None:
        with self.session() as session:
            return session.scalar(select(JobRow).where(JobRow.id == job_id))

    def job(self, job_id: str) -> JobRow:
        """Return a job that must exist."""
        with self.session() as session:
            return session.scalars(select(JobRow).where(JobRow.id == job_id)).one()

    def jobs(self) -> Sequence[JobRow]:
        """Return all jobs, newest first."""
        with self.session() as session:
            return session.scalars(select(JobRow).order_by(JobRow.number.desc())).all()

    def list_jobs(self, query: JobQuery) -> Sequence[JobRow]:
        visible, newest_first = JobRow.created_at <= query.created_by, JobRow.number.desc()
        statement = select(JobRow).where(visible, *(_is_within(*condition) for condition in query.times))
        if query.newest is not None:
            newest = select(JobRow.number).where(visible).order_by(newest_first).limit(query.newest)
            statement = statement.where(JobRow.number.in_(newest))
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
            self._purge_overwritten()
        return changed

    # Faults.

    def add_fault(self, fault: Mapping[str, Any], times: int | None) -> None:
        with self.session() as session:
            session.add(FaultRow(fault=dict(fault), left=times))
        self._faults = self._read_faults()

    def faults(self) -> list[dict[str, Any]]:
        return [{**row.fault, "times": row.left} for row in self._faults]

    def take_fault(self, kind: str) -> dict[str, Any] | None:
        """Return the first fault for this kind of request and count one use of it, or return None."""
        taken = next((row for row in self._faults if row.fault["request"] in (kind, "any")), None)
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
        with self.session() as session:
            session.execute(delete(FaultRow))
        self._faults = self._read_faults()

    def _read_faults(self) -> Sequence[FaultRow]:
        with self.session() as session:
            return session.scalars(select(FaultRow).order_by(FaultRow.number)).all()

    # Requests.

    def add_request(self, request: Mapping[str, Any]) -> None:
        with self.session() as session:
            row = RequestRow(request=dict(request))
            session.add(row)
            session.flush()
            session.execute(delete(RequestRow).where(RequestRow.number <= row.number - _MAX_REQUESTS))

    def requests(self) -> list[dict[str, Any]]:
        with self.session() as session:
            return [row.request for row in session.scalars(select(RequestRow).order_by(RequestRow.number))]

    def clear_requests(self) -> None:
        with self.session() as session:
            session.execute(delete(RequestRow))

    def reset(self) -> None:
        """Delete jobs, faults, and requests, and restore the behavior of the start."""
        self.resets += 1
        with self.session() as session:
            for table in (JobRow, FaultRow, RequestRow):
                session.execute(delete(table))
        self._faults = self._read_faults()
        self.set_fact("behaviour", self.get_fact("first behaviour"))
        self._purge_overwritten()

    def _purge_overwritten(self) -> None:
        # SQLite's write-ahead log keeps overwritten pages, and thus secrets, until it is truncated.
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _lock_folder(data: Path) -> int:
    """Lock a folder while this process lives: two sandboxes on one folder would run the same jobs."""
    folder = os.open(data, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        msg = f"Another sandbox uses {data}. Stop it or choose another folder."
        raise RuntimeError(msg) from None
    return folder


def _create_engine(path: Path) -> Engine:
    path.touch(mode=0o600)
    # Without hide_parameters, the log of a failed statement would contain a destination's secrets.
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False}, hide_parameters=True)
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # Survives a crash of this process; a crash of the machine may lose the last changes.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _build_job(request: ExportRequest, seconds: float | None) -> JobRow:
    destination = dict(request.destination)
    hidden = {member: destination[member] for member in SECRET_MEMBERS if destination.get(member)}
    return JobRow(
        id=secrets.token_hex(12),
        status="Scheduled",
        name=request.name,
        start=request.start,
        end=request.end,
        audiences=list(request.audiences),
        destination={**destination, **dict.fromkeys(hidden, "***")},
        secrets=hidden,
        seconds=seconds,
        created_at=time.time(),
        # Every column is set, so that the row is usable without reading it back.
        started_at=None,
        ended_at=None,
        reason=None,
        delivered_to=None,
    )


def _is_within(edge: str, comparison: str, limit: float) -> ColumnElement[bool]:
    timestamp = JobRow.started_at if edge == "start" else JobRow.ended_at
    # In whole seconds, as a record shows them: a filter with the time of a record finds its job.
    is_within: ColumnElement[bool] = COMPARISONS[comparison](cast(timestamp, Integer), limit)
    return is_within
