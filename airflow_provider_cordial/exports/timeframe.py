"""Timeframe: an inclusive range of days, and which days a DAG run exports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_cordial.exceptions import InvalidExportError

ONE_DAY = timedelta(days=1)

#: The precision of the moments in Cordial's examples.
_MILLISECOND = timedelta(milliseconds=1)

_DATE_KEY = re.compile(r"(\d{4}-\d{2}-\d{2})($|[T ].*)")


@dataclass(frozen=True, slots=True, order=True)
class Timeframe:
    """The days from ``start`` to ``end``, both included, in the account's time zone.

    :raises InvalidExportError: the end is before the start.
    """

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            msg = (
                f"Invalid timeframe: the end {self.end} is before the start {self.start}. "
                "Both days are included; pass the same day twice for a single day."
            )
            raise InvalidExportError(msg)

    def __str__(self) -> str:
        return f"{self.start}" if self.start == self.end else f"{self.start} to {self.end}"

    def __len__(self) -> int:
        return (self.end - self.start).days + 1

    def __iter__(self) -> Iterator[date]:
        return (self.start + timedelta(days=n) for n in range(len(self)))

    def __contains__(self, day: date) -> bool:
        return self.start <= day <= self.end

    def to_json(self) -> dict[str, str]:
        """Return plain JSON, which the ``timeframe`` of an export operator accepts."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}

    def require_over(self, timezone: tzinfo) -> None:
        """Reject days that are not over yet in the account's time zone: Cordial has no snapshot of them.

        :raises InvalidExportError: the last day is today or later.
        """
        today = datetime.now(timezone).date()
        if self.end >= today:
            msg = f"Invalid timeframe: the end {self.end} is not over in {timezone}. Use {today - ONE_DAY} or earlier."
            raise InvalidExportError(msg)

    def chunks(self, days: int) -> list[Timeframe]:
        """Split the range into ranges of at most ``days`` days, in order; for mapped tasks for instance."""
        if days < 1:
            msg = f"Invalid days {days!r}: expected 1 or more."
            raise InvalidExportError(msg)
        return [
            Timeframe(start, min(start + timedelta(days=days - 1), self.end))
            for start in (self.start + timedelta(days=n) for n in range(0, len(self), days))
        ]


def resolve_timeframe(
    context: Mapping[str, Any], *, timeframe: Any = None, start: Any, end: Any, days: int, timezone: ZoneInfo
) -> Timeframe:
    """Return the days that a run exports.

    The first rule that applies decides:

    1. ``timeframe``, or ``start`` and ``end``, if set;
    2. the run's partition: the day that its key begins with, else the day of its date, even if that day is not over;
    3. a data interval: the days in [start, end);
    4. an empty data interval, as Airflow 3's plain cron has, or one in which no day ends: the ``days`` days before the
       logical date, or before the interval's end;
    5. no logical date (asset-triggered or manual run): the ``days`` days before ``run_after``.

    A moment counts as its day in the account's time zone, and rules 3 to 5 only export days that are over there. Runs
    that are ``days`` days apart in the schedule's own time zone skip no day, with or without a data interval, also
    across a change of the clock.

    :param context: the task's context.
    :param timezone: the account's time zone.
    :raises InvalidExportError: a parameter is invalid, or the run has no date.
    """
    if isinstance(days, bool) or not isinstance(days, int) or days < 1:
        msg = f"Invalid days {days!r}: expected a whole number above 0, the number of days to export."
        raise InvalidExportError(msg)
    if timeframe is not None:
        if start is not None or end is not None:
            msg = "Both timeframe and selected_timeframe_start or _end are set: set one or the other."
            raise InvalidExportError(msg)
        return parse_timeframe(timeframe, timezone)
    if (start is None) != (end is None):
        given, missing = ("start", "end") if end is None else ("end", "start")
        msg = (
            f"selected_timeframe_{missing} is missing: set it together with selected_timeframe_{given}, or set neither."
        )
        raise InvalidExportError(msg)
    if start is not None:
        return Timeframe(
            parse_day("selected_timeframe_start", start, timezone), parse_day("selected_timeframe_end", end, timezone)
        )
    if (partition := _partition_day(context, timezone)) is not None:
        return Timeframe(partition, partition)
    schedule_zone = _schedule_zone(context)
    interval_start, interval_end = context.get("data_interval_start"), context.get("data_interval_end")
    if interval_end is not None:
        start = _interval_start(interval_start or interval_end, interval_end, schedule_zone)
        first, after_last = _local_day(start, timezone), _local_day(interval_end, timezone)
        if first < after_last:
            return Timeframe(first, after_last - ONE_DAY)
        # The logical date and an empty interval agree, except where the date was passed on the command line: there
        # Airflow leaves the interval at the time of the command.
        anchor = context.get("logical_date") if interval_start == interval_end else None
        return _days_before(anchor or interval_end, days, timezone, schedule_zone)
    run_after = getattr(context.get("dag_run"), "run_after", None)
    if run_after is None:
        msg = "The run has neither a data interval nor a run_after date: set selected_timeframe_start and _end."
        raise InvalidExportError(msg)
    return _days_before(run_after, days, timezone, schedule_zone)


def resolve_moments(
    context: Mapping[str, Any], *, timeframe: Any = None, start: Any, end: Any, days: int, timezone: ZoneInfo
) -> tuple[datetime, datetime]:
    """Return the first and the last moment that a run exports, both included, in UTC.

    A start or an end that is a moment is used as it is, in the account's time zone if it has none. Days last from
    midnight to the last millisecond of the day there, and are those of ``resolve_timeframe``: so consecutive days
    neither overlap nor leave a gap.

    :raises InvalidExportError: a parameter is invalid, or the run has no date.
    """
    if timeframe is None and start is not None and end is not None:
        first = _parse_day_or_moment("selected_timeframe_start", start)
        last = _parse_day_or_moment("selected_timeframe_end", end)
    else:
        whole = resolve_timeframe(context, timeframe=timeframe, start=start, end=end, days=days, timezone=timezone)
        first, last = whole.start, whole.end
    if not isinstance(first, datetime):
        first = datetime.combine(first, time(), timezone)
    if not isinstance(last, datetime):
        last = datetime.combine(last + ONE_DAY, time(), timezone).astimezone(UTC) - _MILLISECOND
    return _in_utc(first, timezone), _in_utc(last, timezone)


def _in_utc(moment: datetime, timezone: tzinfo) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone)).astimezone(UTC)


def _schedule_zone(context: Mapping[str, Any]) -> tzinfo | None:
    """Return the time zone of the DAG's cron; other schedules have none."""
    timetable = getattr(context.get("dag"), "timetable", None)
    # A schedule combined with assets, or the first of several schedules, which share one time zone.
    timetable = getattr(timetable, "timetable", timetable)
    (timetable, *_) = getattr(timetable, "timetables", None) or (timetable,)
    zone = getattr(timetable, "timezone", None)
    return ZoneInfo(zone) if isinstance(zone, str) else zone


def _before(moment: datetime, days: int, schedule_zone: tzinfo | None) -> datetime:
    """Return the moment some days before, by the schedule's clock: those days may have an hour more or less."""
    if schedule_zone is None or moment.tzinfo is None:
        return moment - days * ONE_DAY
    there = moment.astimezone(schedule_zone)
    return datetime.combine(there.date() - days * ONE_DAY, there.time(), schedule_zone)


def _interval_start(start: datetime, end: datetime, schedule_zone: tzinfo | None) -> datetime:
    """Return where an interval starts; a multiple of 24 hours means that many days."""
    # Airflow's datetimes are pendulum's, and the difference of two cannot be divided by a timedelta.
    whole, rest = divmod(timedelta(seconds=(end - start).total_seconds()), ONE_DAY)
    return start if rest else _before(end, whole, schedule_zone)


def _days_before(moment: datetime, days: int, timezone: ZoneInfo, schedule_zone: tzinfo | None) -> Timeframe:
    """Return the ``days`` days before a moment's day, or one more if the previous run was not on the first of them.

    A schedule that fires shortly before the account's midnight may fire after it once a clock has changed; a day
    between two of its runs would be skipped.
    """
    after_last = _local_day(moment, timezone)
    a_run_ago = _local_day(_before(moment, days, schedule_zone), timezone)
    return Timeframe(min(a_run_ago, after_last - days * ONE_DAY), after_last - ONE_DAY)


def parse_timeframe(value: Any, timezone: tzinfo) -> Timeframe:
    """Return a ``Timeframe``, or one from its JSON.

    :raises InvalidExportError: the value is neither.
    """
    if isinstance(value, Timeframe):
        return value
    if not isinstance(value, Mapping) or set(value) != {"start", "end"}:
        msg = f"Invalid timeframe {value!r}: expected a Timeframe or a mapping with 'start' and 'end'."
        raise InvalidExportError(msg)
    return Timeframe(*(parse_day(f"timeframe {key}", value[key], timezone) for key in ("start", "end")))


def _partition_day(context: Mapping[str, Any], timezone: ZoneInfo) -> date | None:
    """Return the day that the run's partition is named after."""
    # People see the key, and a key that was found at run time has no date beside it.
    if dated := parse_dated_key(context.get("partition_key")):
        return dated[0]
    partition_date = context.get("partition_date")
    return None if partition_date is None else _local_day(partition_date, _schedule_zone(context) or timezone)


def parse_dated_key(partition_key: str | None) -> tuple[date, str] | None:
    """Return the day that a partition key begins with, and the rest of the key; None if it begins with no day."""
    if match := _DATE_KEY.fullmatch(partition_key or ""):
        with suppress(ValueError):
            return date.fromisoformat(match[1]), match[2]
    return None


def parse_day(name: str, value: Any, timezone: tzinfo) -> date:
    """Return the day of a date, a moment, or a text.

    :param name: of the parameter, for the error.
    :raises InvalidExportError: it is another value, or a text that is not a date.
    """
    parsed = _parse_day_or_moment(name, value)
    return _local_day(parsed, timezone) if isinstance(parsed, datetime) else parsed


def _parse_day_or_moment(name: str, value: Any) -> date | datetime:
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        text = value.strip()
        try:
            return date.fromisoformat(text) if len(text) == len("2026-01-31") else datetime.fromisoformat(text)
        except ValueError:
            pass
    msg = f"Invalid {name} {value!r}: expected a date, a datetime, or an ISO 8601 text such as 2026-01-31."
    raise InvalidExportError(msg)


def _local_day(moment: datetime, timezone: tzinfo) -> date:
    """Return a moment's day in the account's time zone, which is assumed for a moment without one."""
    return moment.date() if moment.tzinfo is None else moment.astimezone(timezone).date()
