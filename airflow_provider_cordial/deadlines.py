"""AccountMidnight: a deadline that counts from the account's midnight; Airflow 3.2 or later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk.definitions.deadline import BaseDeadlineReference

from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.get_provider_info import DEFAULT_TIMEZONE

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class AccountMidnight(BaseDeadlineReference):
    """The account's midnight from which on a run's day can be exported, as the reference of a ``DeadlineAlert``.

    The run's day is the last one that ``AudienceTrendsExportOperator`` exports in the run, unless its parameters name
    days. The deadline is the ``interval`` of the ``DeadlineAlert`` after that midnight, and does not depend on when the
    run was queued.

    Airflow evaluates it where it creates the run, in the scheduler or the API server: the provider must be installed
    there, and Airflow's connections are not read, so the time zone is a parameter.

    :param timezone: the account's time zone, as in the connection.
    :param lag: how many days after a day its number is expected: 1 is the midnight that ends the day.
    :raises InvalidParameterError: a parameter is invalid.
    """

    timezone: str = DEFAULT_TIMEZONE
    lag: int = 1

    #: What Airflow 3.2 and 3.3 pass to ``_evaluate_with``; 3.4 reads its parameters, and deprecates this.
    required_kwargs = frozenset({"dag_id", "run_id"})

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (LookupError, OSError, TypeError, ValueError):
            msg = f"Invalid timezone {self.timezone!r}: expected an IANA name such as {DEFAULT_TIMEZONE}."
            raise InvalidParameterError(msg) from None
        if not isinstance(self.lag, int) or self.lag < 1:
            msg = f"Invalid lag {self.lag!r}: expected a number of days of 1 or more, because a day has to be over."
            raise InvalidParameterError(msg)

    def serialize_reference(self) -> dict[str, Any]:
        """Return plain JSON, for the serialized DAG."""
        return {**super().serialize_reference(), "timezone": self.timezone, "lag": self.lag}

    @classmethod
    def deserialize_reference(cls, reference_data: Mapping[str, Any]) -> AccountMidnight:
        """Return the reference that was serialized."""
        return cls(reference_data["timezone"], reference_data["lag"])

    def midnight(self, run: Any) -> datetime:
        """Return the midnight of a DAG run, in UTC: the interval then counts real hours, also across clock changes."""
        from airflow_provider_cordial.exports.timeframe import resolve_timeframe

        zone = ZoneInfo(self.timezone)
        names = ("logical_date", "data_interval_start", "data_interval_end", "partition_key", "partition_date")
        context = {"dag_run": run, **{name: getattr(run, name, None) for name in names}}
        day = resolve_timeframe(context, start=None, end=None, days=1, timezone=zone).end
        return datetime.combine(day + timedelta(days=self.lag), time.min, zone).astimezone(UTC)

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        return None if run is None else self.midnight(run)
