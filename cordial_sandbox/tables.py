"""The tables of the sandbox's database."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012 - as SQLAlchemy declares it


class Fact(Base):
    """A fact about the sandbox itself: a port, a password, the account's behavior."""

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
    #: The secrets of the destination; empty once the job is settled.
    secrets: Mapped[dict[str, Any]]
    #: The job's own duration; None for the account's ``job_seconds``.
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
        """Whether no work is left: the file of a Done job may still have to be delivered."""
        return self.status == "Failed" or (self.status == "Done" and (self.delivered_to or self.reason) is not None)


class FaultRow(Base):
    __tablename__ = "faults"
    number: Mapped[int] = mapped_column(primary_key=True)
    fault: Mapped[dict[str, Any]]
    #: How many requests it still affects; None for no limit.
    left: Mapped[int | None]


class RequestRow(Base):
    __tablename__ = "requests"
    number: Mapped[int] = mapped_column(primary_key=True)
    request: Mapped[dict[str, Any]]
