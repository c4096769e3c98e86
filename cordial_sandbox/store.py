"""The state of an account, in the sandbox's database.

Each change of a job is committed before the sandbox acts on it, so that a killed sandbox resumes where it stopped. The
journal and the hits of unlimited faults are saved at short intervals: a kill loses at most those of the last interval.
The secrets of a destination are encrypted, and stored only until its job is settled.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cordial_sandbox.accounts import AccountChange
from cordial_sandbox.clock import Clock
from cordial_sandbox.database import Database
from cordial_sandbox.exports.kind import ExportRequest
from cordial_sandbox.fates import Fate
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.tables import HAS_DOWNLOAD, UNSETTLED, FateRow, FaultRow, JobRow, RequestRow
from cordial_sandbox.validation import ApiError

log = logging.getLogger(__name__)

#: Stands for a secret wherever a destination is shown.
HIDDEN = "***"

SECRET_MEMBERS = ("password", "aws_access_key_id", "aws_secret_access_key")

#: The comparisons that a filter on a job's start or end time may use. Times are compared in whole seconds, as a record
#: shows them: a filter with the time of a record finds its job.
COMPARISONS: Mapping[str, Callable[[Any, float], Any]] = {
    "gt": lambda time, limit: time >= math.floor(limit) + 1,
    "gte": lambda time, limit: time >= math.ceil(limit),
    "lt": lambda time, limit: time < math.ceil(limit),
    "lte": lambda time, limit: time < math.floor(limit) + 1,
}

#: Where the files on the Jobs page are, in the sandbox's folder.
DOWNLOADS = "downloads/"

#: How many faults, and how many fates, an account can have.
MAX_RULES = 1_000

#: How many jobs that have ended are kept, also before their time is over.
MAX_ENDED_JOBS = 500_000

_MAX_REQUESTS = 20_000

#: Seconds between a request and its entry in the database.
_SAVE_INTERVAL = 0.25

#: How many jobs are read or deleted in one step, to stay below the limits of SQLite and to block nothing for long.
_STEP = 500

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


class JobState(NamedTuple):
    """What the next step of a job depends on."""

    number: int
    id: str
    status: str
    fate: dict[str, Any]
    #: The job's own duration; None for the account's ``job_seconds``.
    seconds: float | None


class Store:
    """The state of one account: its behavior, jobs, faults, fates, and journal.

    :param account: name of the account.
    """

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self.account = account
        #: How often this process was reset.
        self.resets = 0
        with database.session() as session:
            self._faults = list(session.scalars(self._own(FaultRow).order_by(FaultRow.number)))
            self._fates = list(session.scalars(self._own(FateRow).order_by(FateRow.number)))
        self._behaviour: Behaviour | None = None
        self._unsaved_requests: deque[dict[str, Any]] = deque(maxlen=_MAX_REQUESTS)
        self._unsaved_faults: set[int] = set()
        self._saving: asyncio.TimerHandle | None = None

    @property
    def clock(self) -> Clock:
        return self._database.clock

    @contextmanager
    def session(self) -> Iterator[Session]:
        self.save()
        with self._database.session() as session:
            yield session

    def check(self) -> None:
        """Raise an error if the database does not answer."""
        with self._database.session() as session:
            session.execute(select(1))

    # Behavior and audiences.

    @property
    def behaviour(self) -> Behaviour:
        if self._behaviour is None:
            self._behaviour = Behaviour.model_validate(self._database.get_fact(f"behaviour of {self.account}"))
        return self._behaviour

    def set_behaviour(self, behaviour: Behaviour) -> None:
        self._database.set_fact(f"behaviour of {self.account}", behaviour.model_dump())
        self._behaviour = behaviour

    def set_first_behaviour(self, behaviour: Behaviour) -> None:
        """Store the behavior that a reset restores, and make it current at the first start."""
        self._database.set_fact("first behaviour", behaviour.model_dump())
        self._database.get_fact(f"behaviour of {self.account}", behaviour.model_dump())

    @property
    def account_change(self) -> AccountChange:
        """How the account differs from that of the start."""
        return AccountChange.model_validate(self._database.get_fact(f"change of {self.account}"))

    def set_account_change(self, change: AccountChange) -> None:
        self._database.set_fact(f"change of {self.account}", change.model_dump(mode="json", by_alias=True))

    # Jobs.

    def add_job(self, request: ExportRequest) -> JobState:
        """Store a new Scheduled job and return it."""
        (job,) = self.add_jobs(request, [None])
        return job

    def add_jobs(self, request: ExportRequest, durations: Sequence[float | None]) -> Sequence[JobState]:
        """Store one new Scheduled job per duration, in one transaction, and return them."""
        shared, count = self._describe_job(request), len(durations)
        matching = [
            row
            for row in self._fates
            if Fate.model_validate(row.fate).matches(request.kind, request.name, request.request)
        ]
        jobs = [
            JobState(next(self._database.job_numbers), secrets.token_hex(12), "Scheduled", fate, seconds)
            for fate, seconds in zip(_choose_outcomes(matching, count), durations, strict=True)
        ]
        with self._database.session() as session:
            connection = session.connection()
            connection.execute(insert(JobRow), [{**shared, **job._asdict()} for job in jobs])
            for row in matching:
                connection.execute(update(FateRow).where(FateRow.number == row.number).values(seen=row.seen + count))
        for row in matching:
            row.seen += count
        return jobs

    def restore_jobs(self, jobs: Sequence[JobRow]) -> None:
        """Store jobs of an exported state, oldest first."""
        for job in jobs:
            job.number = next(self._database.job_numbers)
        with self._database.session() as session:
            session.add_all(jobs)

    def find_job(self, job_id: str) -> JobRow | None:
        with self._database.session() as session:
            return session.scalar(self._own(JobRow).where(JobRow.id == job_id))

    def jobs(self, limit: int, status: str | None = None) -> Sequence[JobRow]:
        """Return the newest jobs, newest first.

        :param status: return the jobs in this status only.
        """
        found = self._own(JobRow) if status is None else self._own(JobRow).where(JobRow.status == status)
        with self._database.session() as session:
            return session.scalars(found.order_by(JobRow.number.desc()).limit(limit)).all()

    def find_jobs(self, numbers: Collection[int]) -> Sequence[JobRow]:
        """Return the jobs of these numbers that exist."""
        with self._database.session() as session:
            return session.scalars(self._own(JobRow).where(JobRow.number.in_(numbers))).all()

    def unsettled_jobs(self) -> Sequence[JobState]:
        """Return the jobs that have work left, oldest first."""
        columns = (JobRow.number, JobRow.id, JobRow.status, JobRow.fate, JobRow.seconds)
        statement = select(*columns).where(JobRow.account == self.account, UNSETTLED).order_by(JobRow.number)
        with self._database.session() as session:
            return [JobState(*row) for row in session.execute(statement)]

    def list_jobs(self, query: JobQuery) -> Sequence[JobRow]:
        """Return a page of jobs.

        Their numbers are found in an index that has all columns of the filters, as it may skip many jobs.
        """
        found = select(JobRow.number).where(JobRow.account == self.account)
        newest_first = JobRow.number.desc()
        if query.created_by != math.inf:
            found = found.where(JobRow.created_at <= query.created_by)
        if query.newest is not None:
            newest = found.order_by(newest_first).limit(query.newest)
            found = select(JobRow.number).where(JobRow.account == self.account, JobRow.number.in_(newest))
        for edge, comparison, limit in query.times:
            found = found.where(
                COMPARISONS[comparison](JobRow.started_at if edge == "start" else JobRow.ended_at, limit)
            )
        if query.job_names is not None:
            found = found.where(JobRow.kind.in_(query.job_names))
        if query.status is not None:
            found = found.where(JobRow.status == query.status)
        order = JobRow.number if query.oldest_first else newest_first
        found = found.order_by(order).offset(query.offset).limit(query.limit)
        with self._database.session() as session:
            return session.scalars(select(JobRow).where(JobRow.number.in_(found)).order_by(order)).all()

    def change_jobs(self, jobs: Sequence[JobRow]) -> None:
        """Store the status, times, reason, and location of jobs in one transaction; forget secrets of settled ones."""
        changes = [
            {
                "changed": job.number,
                "status": job.status,
                "started_at": job.started_at,
                "ended_at": job.ended_at,
                "reason": job.reason,
                "delivered_to": job.delivered_to,
                "secrets": None if job.is_settled else job.secrets,
            }
            for job in jobs
        ]
        with self._database.session() as session:
            session.connection().execute(_CHANGE_JOB, changes)

    def read_secrets(self, job: JobRow) -> dict[str, str]:
        return self._database.cipher.decrypt(job.secrets)

    def forget_files_before(self, ended_before: float) -> set[str]:
        """Forget some files on the Jobs page that are older than a timestamp, and return their folders."""
        old = select(JobRow.number, JobRow.delivered_to).where(
            JobRow.account == self.account, JobRow.ended_at < ended_before, HAS_DOWNLOAD
        )
        with self._database.session() as session:
            found = session.execute(old.order_by(JobRow.ended_at).limit(_STEP)).all()
            if found:
                session.connection().execute(
                    update(JobRow)
                    .where(JobRow.number.in_([row.number for row in found]))
                    .values(delivered_to=None, reason="The file was deleted after 30 days.")
                )
        return _get_folders(row.delivered_to for row in found)

    def delete_jobs_before(self, ended_before: float) -> int:
        """Delete some of the jobs that ended before a timestamp, and return how many."""
        old = select(JobRow.number).where(JobRow.account == self.account, JobRow.ended_at < ended_before)
        with self._database.session() as session:
            numbers = session.scalars(old.limit(_STEP)).all()
            _delete_jobs(session, numbers)
        return len(numbers)

    def delete_excess_jobs(self) -> set[str] | None:
        """Delete some of the jobs that ended first if the account has too many.

        :returns: the folders of their files on the Jobs page; None if no job was deleted.
        """
        ended = select(JobRow.number, JobRow.delivered_to).where(
            JobRow.account == self.account, JobRow.ended_at.is_not(None)
        )
        with self._database.session() as session:
            found = session.execute(ended.order_by(JobRow.ended_at.desc()).offset(MAX_ENDED_JOBS).limit(_STEP)).all()
            _delete_jobs(session, [row.number for row in found])
        return _get_folders(row.delivered_to for row in found) if found else None

    def find_downloads(self) -> set[str]:
        """Return the folders of all files on the Jobs page."""
        locations = select(JobRow.delivered_to).where(JobRow.account == self.account, HAS_DOWNLOAD).distinct()
        with self._database.session() as session:
            return _get_folders(session.scalars(locations))

    # Faults.

    def add_fault(self, fault: Mapping[str, Any], times: int | None) -> None:
        """Add a fault.

        :raises ApiError: the account has too many of them.
        """
        _check_room(self._faults, "faults")
        row = FaultRow(account=self.account, fault=dict(fault), left=times, hits=0)
        with self._database.session() as session:
            session.add(row)
        self._faults.append(row)

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are active: ``times`` is how often each still applies, ``hits`` how often it has."""
        return [{**row.fault, "times": row.left, "hits": row.hits} for row in self._faults]

    def take_fault(self, kinds: Collection[str | None]) -> dict[str, Any] | None:
        """Return the first fault for one of these kinds of requests and count one use of it, or return None."""
        taken = next((row for row in self._faults if row.fault["request"] in (*kinds, "any")), None)
        if taken is None:
            return None
        if taken.left is None:
            taken.hits += 1
            self._unsaved_faults.add(taken.number)
            self._save_soon()
            return taken.fault
        # At once: a fault that is used up does not apply again after a kill.
        this, left, hits = FaultRow.number == taken.number, taken.left - 1, taken.hits + 1
        with self._database.session() as session:
            session.connection().execute(
                update(FaultRow).where(this).values(left=left, hits=hits) if left else delete(FaultRow).where(this)
            )
        taken.left, taken.hits = left, hits
        if not left:
            self._faults.remove(taken)
        return taken.fault

    def remove_fault(self, fault: Mapping[str, Any]) -> None:
        """Remove the first fault like this one, whatever its ``times`` and ``hits``; nothing if it has been used up."""
        wanted = {name: value for name, value in fault.items() if name not in ("times", "hits")}
        found = next((row for row in self._faults if row.fault == wanted), None)
        if found is None:
            return
        with self._database.session() as session:
            session.execute(delete(FaultRow).where(FaultRow.number == found.number))
        self._faults.remove(found)

    def clear_faults(self) -> None:
        self._clear(FaultRow)
        self._faults.clear()

    # Fates.

    def add_fate(self, fate: Fate, seen: int = 0) -> None:
        """Add a fate.

        :param seen: how many exports matched before.
        :raises ApiError: the account has too many of them.
        """
        _check_room(self._fates, "fates")
        row = FateRow(account=self.account, fate=fate.model_dump(mode="json"), seen=seen)
        with self._database.session() as session:
            session.add(row)
        self._fates.append(row)

    def fates(self) -> list[dict[str, Any]]:
        return [{**row.fate, "seen": row.seen} for row in self._fates]

    def clear_fates(self) -> None:
        self._clear(FateRow)
        self._fates.clear()

    # Requests.

    def add_request(self, request: Mapping[str, Any]) -> None:
        """Add a request to the journal; must be called in the event loop, which saves it soon."""
        self._unsaved_requests.append(dict(request))
        self._save_soon()

    def requests(self) -> list[dict[str, Any]]:
        """Return the journal, oldest first."""
        statement = select(RequestRow.request).where(RequestRow.account == self.account).order_by(RequestRow.number)
        with self.session() as session:
            return list(session.scalars(statement))

    def clear_requests(self) -> None:
        self._unsaved_requests.clear()
        self._clear(RequestRow)

    def save(self) -> None:
        """Write what is only in memory: the newest requests, and the hits of unlimited faults."""
        requests = list(self._unsaved_requests)
        hits = [{"hit": row.number, "hits": row.hits} for row in self._faults if row.number in self._unsaved_faults]
        if requests or hits:
            with self._database.session() as session:
                connection = session.connection()
                if hits:
                    connection.execute(_COUNT_HITS, hits)
                if requests:
                    rows = [{"account": self.account, "request": request} for request in requests]
                    connection.execute(insert(RequestRow), rows)
                    last = connection.scalar(select(func.max(RequestRow.number))) or 0
                    connection.execute(delete(RequestRow).where(RequestRow.number <= last - _MAX_REQUESTS))
        self._unsaved_requests.clear()
        self._unsaved_faults.clear()

    def _save_soon(self) -> None:
        if self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(_SAVE_INTERVAL, self._save_or_retry)

    def _save_or_retry(self) -> None:
        self._saving = None
        try:
            self.save()
        except OperationalError as error:
            log.warning("Saving the journal failed (%s); retrying", error.orig)
            self._save_soon()

    # Everything.

    def reset(self) -> None:
        """Delete jobs, faults, fates, and requests, and restore the behavior of the start."""
        self.resets += 1
        self._unsaved_requests.clear()
        self._unsaved_faults.clear()
        self._clear(JobRow, FaultRow, FateRow, RequestRow)
        self._faults.clear()
        self._fates.clear()
        self.set_behaviour(Behaviour.model_validate(self._database.get_fact("first behaviour")))

    def _clear(self, *tables: type[JobRow | FaultRow | FateRow | RequestRow]) -> None:
        with self._database.session() as session:
            for table in tables:
                session.execute(delete(table).where(table.account == self.account))

    def _own(self, table: type[_Row]) -> Select[_Row]:
        return select(table).where(table.account == self.account)

    def _describe_job(self, request: ExportRequest) -> dict[str, Any]:
        """Return the columns that all new jobs of a request share."""
        destination = dict(request.destination)
        hidden = {member: destination[member] for member in SECRET_MEMBERS if destination.get(member)}
        return {
            "account": self.account,
            "kind": request.kind,
            "name": request.name,
            "request": dict(request.request),
            "destination": {**destination, **dict.fromkeys(hidden, HIDDEN)},
            "secrets": self._database.cipher.encrypt(hidden),
            "created_at": self.clock.now(),
        }


_CHANGED = ("status", "started_at", "ended_at", "reason", "delivered_to", "secrets")
_CHANGE_JOB = (
    update(JobRow).where(JobRow.number == bindparam("changed")).values({name: bindparam(name) for name in _CHANGED})
)
_COUNT_HITS = update(FaultRow).where(FaultRow.number == bindparam("hit")).values(hits=bindparam("hits"))


def _choose_outcomes(fates: Sequence[FateRow], count: int) -> list[dict[str, Any]]:
    """Return what happens to each of the next exports: the outcome of the first of the matching fates that applies."""
    outcomes: list[dict[str, Any]] = [{} for _ in range(count)]
    for row in fates:
        fate = Fate.model_validate(row.fate)
        for position in range(count):
            if not outcomes[position] and fate.nth in (None, row.seen + 1 + position):
                outcomes[position] = fate.outcome()
    return outcomes


def _get_folders(locations: Iterable[str | None]) -> set[str]:
    """Return the folders of those locations that are on the Jobs page."""
    return {path.split("/")[1] for path in locations if path is not None and path.startswith(DOWNLOADS)}


def _delete_jobs(session: Session, numbers: Collection[int]) -> None:
    if numbers:
        session.connection().execute(delete(JobRow).where(JobRow.number.in_(numbers)))


def _check_room(rows: Collection[object], noun: str) -> None:
    if len(rows) >= MAX_RULES:
        raise ApiError(422, f"An account has at most {MAX_RULES:,} {noun}. Delete those that are not needed.")
