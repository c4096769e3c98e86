"""The tables of the sandbox's database."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import JSON, Index, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: Changes with every change of a table.
SCHEMA_VERSION = 3

#: The jobs that have work left. Without bound values, so that SQLite can use the index of this condition.
UNSETTLED = text("status != 'Failed' AND (status != 'Done' OR (delivered_to IS NULL AND reason IS NULL))")
#: The jobs that have a file on the Jobs page.
HAS_DOWNLOAD = text("delivered_to LIKE 'downloads/%'")


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012 - as SQLAlchemy declares it


#: The columns that a list is filtered by.
_LISTED = ("status", "kind", "created_at", "started_at", "ended_at")


class Fact(Base):
    """A fact about the sandbox itself: a port, a password, an account's behavior."""

    __tablename__ = "facts"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class JobRow(Base):
    __tablename__ = "jobs"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    account: Mapped[str]
    status: Mapped[str]
    #: The kind of export, which is its path below /v2/.
    kind: Mapped[str]
    name: Mapped[str]
    #: The valid request without its name and destination.
    request: Mapped[dict[str, Any]]
    destination: Mapped[dict[str, Any]]
    #: The encrypted secrets of the destination; None without secrets and once the job is settled.
    secrets: Mapped[str | None]
    #: What happens to this job only (see ``fates.Outcome``).
    fate: Mapped[dict[str, Any]]
    #: The job's own duration; None for the account's ``job_seconds``.
    seconds: Mapped[float | None]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    reason: Mapped[str | None]
    delivered_to: Mapped[str | None]

    __table_args__ = (
        # With every column that a list is filtered by: the jobs that a page skips are counted in the index alone.
        Index("listed_jobs", "account", "number", *_LISTED),
        Index("listed_jobs_by_status", "account", "status", "number", *_LISTED[1:]),
        Index("unsettled_jobs", "account", "number", sqlite_where=UNSETTLED),
        Index("jobs_with_downloads", "account", "ended_at", sqlite_where=HAS_DOWNLOAD),
        Index("ended_jobs", "account", "ended_at"),
    )

    @property
    def start(self) -> date | None:
        return _parse_day(self.request.get("selected_timeframe_start"))

    @property
    def end(self) -> date | None:
        return _parse_day(self.request.get("selected_timeframe_end"))

    @property
    def audiences(self) -> list[str]:
        return list(self.request.get("audiences", []))

    @property
    def has_ended(self) -> bool:
        return self.status in ("Done", "Failed")

    @property
    def is_settled(self) -> bool:
        """Whether no work is left: the file of a Done job may still have to be delivered."""
        return self.status == "Failed" or (self.status == "Done" and (self.delivered_to or self.reason) is not None)


class FaultRow(Base):
    __tablename__ = "faults"
    number: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str]
    fault: Mapped[dict[str, Any]]
    #: How many requests it still affects; None for no limit.
    left: Mapped[int | None]
    #: How many requests it has affected.
    hits: Mapped[int]


class FateRow(Base):
    __tablename__ = "fates"
    number: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str]
    fate: Mapped[dict[str, Any]]
    #: How many exports matched so far.
    seen: Mapped[int]


class RequestRow(Base):
    __tablename__ = "requests"
    number: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str]
    request: Mapped[dict[str, Any]]


def _parse_day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text[:10])
