"""Which days a run exports: every timetable of Airflow 3, a whole year, both changes of the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.timetables.base import DagRunInfo, TimeRestriction, Timetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import (
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.timeframe import Timeframe, resolve_moments, resolve_timeframe

LOS_ANGELES = ZoneInfo("America/Los_Angeles")
LA, UTC_NAME = "America/Los_Angeles", "UTC"
ONE_DAY = timedelta(days=1)


def build_context(info: DagRunInfo) -> dict[str, Any]:
    """Return the context keys of a task in such a run."""
    context: dict[str, Any] = {
        "dag_run": SimpleNamespace(run_after=info.run_after),
        "partition_date": info.partition_date,
        "partition_key": info.partition_key,
    }
    if info.data_interval is not None:
        context |= {"data_interval_start": info.data_interval.start, "data_interval_end": info.data_interval.end}
    return context


def runs(timetable: Timetable, start: datetime, end: datetime) -> Iterator[DagRunInfo]:
    """Yield the scheduled runs of a timetable with catch-up."""
    restriction = TimeRestriction(pendulum.instance(start), pendulum.instance(end), catchup=True)
    last: DagRunInfo | None = None
    while True:
        last = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
        if last is None:
            return
        yield last


def resolve(context: dict[str, Any], **options: Any) -> Timeframe:
    options = {"start": None, "end": None, "days": 1, "timezone": LOS_ANGELES, **options}
    return resolve_timeframe(context, **options)


@pytest.mark.parametrize(
    "timetable",
    [
        pytest.param(CronTriggerTimetable("0 3 * * *", timezone=LA), id="cron"),
        pytest.param(CronTriggerTimetable("0 0 * * *", timezone=LA), id="cron-at-midnight"),
        pytest.param(CronTriggerTimetable("0 0 * * *", timezone=UTC_NAME), id="cron-utc"),
        pytest.param(CronTriggerTimetable("30 7 * * *", timezone=UTC_NAME), id="cron-utc-around-midnight-there"),
        pytest.param(CronTriggerTimetable("30 0 * * *", timezone=LA), id="cron-just-after-midnight"),
        pytest.param(CronTriggerTimetable("30 23 * * *", timezone=LA), id="cron-just-before-midnight"),
        pytest.param(CronTriggerTimetable("0 3 * * *", timezone=LA, interval=ONE_DAY), id="cron-with-interval"),
        pytest.param(MultipleCronTriggerTimetable("0 3 * * *", timezone=LA), id="multiple-cron"),
        pytest.param(CronDataIntervalTimetable("0 0 * * *", LA), id="data-interval"),
        pytest.param(CronDataIntervalTimetable("0 6 * * *", UTC_NAME), id="data-interval-utc"),
        pytest.param(DeltaTriggerTimetable(ONE_DAY), id="delta"),
        pytest.param(DeltaDataIntervalTimetable(ONE_DAY), id="delta-data-interval"),
        pytest.param(
            CronPartitionTimetable("0 0 * * *", timezone=LA, run_offset=-1, key_format="%Y-%m-%d"), id="partition"
        ),
        pytest.param(
            CronPartitionTimetable("0 0 * * *", timezone=UTC_NAME, run_offset=-1, key_format="%Y-%m-%d"),
            id="partition-utc",
        ),
    ],
)
def test_daily_runs_skip_no_day_of_a_year(timetable: Timetable) -> None:
    start, end = datetime(2026, 1, 2, 12, tzinfo=UTC), datetime(2027, 1, 3, 11, tzinfo=UTC)
    asked = [resolve(build_context(info)) for info in runs(timetable, start, end)]
    # A run within an hour of midnight exports two days at the change to summer time, and two runs fall on one day at
    # the change back.
    assert sum(len(timeframe) != 1 for timeframe in asked) <= 1
    days = [day for timeframe in asked for day in timeframe]
    repeats = len(days) - len(set(days))
    assert repeats <= 1
    distinct = sorted(set(days))
    assert distinct == list(Timeframe(distinct[0], distinct[-1]))
    assert len(distinct) >= 363


@pytest.mark.parametrize(
    ("cron", "zone"), [("0 3 * * *", LA), ("0 0 * * *", UTC_NAME), ("0 6 * * 1", UTC_NAME), ("0 0 1 * *", LA)]
)
def test_a_plain_cron_exports_only_days_that_are_over(cron: str, zone: str) -> None:
    timetable = CronTriggerTimetable(cron, timezone=zone)
    for info in runs(timetable, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)):
        asked = resolve(build_context(info), days=7)
        over = datetime.combine(asked.end + ONE_DAY, datetime.min.time(), LOS_ANGELES)
        assert over <= info.run_after < over + ONE_DAY + timedelta(hours=1)
        assert 7 <= len(asked) <= 8


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        pytest.param(
            "2026-11-10T00:00-08:00", "2026-11-11T00:00-08:00", ("2026-11-10", "2026-11-10"), id="a-day-there"
        ),
        pytest.param("2026-11-10T00:00+00:00", "2026-11-11T00:00+00:00", ("2026-11-09", "2026-11-09"), id="a-utc-day"),
        pytest.param("2026-11-02T00:00-08:00", "2026-11-09T00:00-08:00", ("2026-11-02", "2026-11-08"), id="a-week"),
        pytest.param("2026-10-01T00:00-07:00", "2026-11-01T00:00-07:00", ("2026-10-01", "2026-10-31"), id="a-month"),
        pytest.param("2026-11-10T05:00-08:00", "2026-11-10T06:00-08:00", ("2026-11-09", "2026-11-09"), id="an-hour"),
        pytest.param("2026-11-10T06:00-08:00", "2026-11-10T06:00-08:00", ("2026-11-09", "2026-11-09"), id="empty"),
    ],
)
def test_a_data_interval_decides_the_days(start: str, end: str, expected: tuple[str, str]) -> None:
    context = {
        "data_interval_start": datetime.fromisoformat(start),
        "data_interval_end": datetime.fromisoformat(end),
        "dag_run": SimpleNamespace(run_after=datetime.fromisoformat(end)),
    }
    assert resolve(context) == Timeframe(*map(date.fromisoformat, expected))


def test_without_a_logical_date_run_after_decides() -> None:
    context = {"dag_run": SimpleNamespace(run_after=datetime(2026, 11, 24, 10, 30, tzinfo=UTC)), "partition_date": None}
    assert resolve(context, days=3) == Timeframe(date(2026, 11, 21), date(2026, 11, 23))


def test_a_partition_exports_the_day_of_its_key() -> None:
    context = {
        "partition_date": datetime(2026, 11, 10, tzinfo=UTC),
        "partition_key": "2026-11-10",
        "dag_run": SimpleNamespace(run_after=datetime(2026, 11, 11, tzinfo=UTC)),
    }
    assert resolve(context) == Timeframe(date(2026, 11, 10), date(2026, 11, 10))
    assert resolve({**context, "partition_key": "eu|week-46"}) == Timeframe(date(2026, 11, 9), date(2026, 11, 9))


@pytest.mark.parametrize(
    ("key", "day"),
    [
        ("2026-11-10", 10),
        ("2026-11-10T00:00:00", 10),
        ("2026-11-10 23:00", 10),
        # Not a day: the day before run_after.
        ("2026-11-10x", 23),
        ("2026-13-10", 23),
        ("eu", 23),
    ],
)
def test_a_runtime_partition_has_a_key_and_no_date(key: str, day: int) -> None:
    context = {
        "partition_key": key,
        "partition_date": None,
        "dag_run": SimpleNamespace(run_after=datetime(2026, 11, 24, 20, tzinfo=UTC)),
    }
    assert resolve(context) == Timeframe(date(2026, 11, day), date(2026, 11, day))


@pytest.mark.parametrize(
    "value",
    [
        date(2026, 11, 10),
        datetime(2026, 11, 10, 5),  # noqa: DTZ001
        datetime(2026, 11, 11, 7, 59, tzinfo=UTC),
        "2026-11-10",
        " 2026-11-10T23:59:59 ",
        "2026-11-11 07:59:00+00:00",
    ],
)
def test_explicit_days_win_in_the_accounts_time_zone(value: Any) -> None:
    context = {"partition_date": datetime(2026, 1, 1, tzinfo=UTC)}
    assert resolve(context, start=value, end=value) == Timeframe(date(2026, 11, 10), date(2026, 11, 10))


def test_a_timeframe_can_be_one_value() -> None:
    whole = Timeframe(date(2026, 11, 10), date(2026, 11, 12))
    context = {"partition_key": "2026-01-01"}
    assert resolve(context, timeframe=whole) == whole
    assert whole.to_json() == {"start": "2026-11-10", "end": "2026-11-12"}
    assert resolve(context, timeframe=whole.to_json()) == whole
    moments = {"start": "2026-11-11T07:59:00+00:00", "end": date(2026, 11, 12)}
    assert resolve(context, timeframe=moments) == whole


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"timeframe": "2026-11-10"},
            "Invalid timeframe '2026-11-10': expected a Timeframe or a mapping with 'start' and 'end'.",
        ),
        ({"timeframe": {"start": "2026-11-10"}}, "expected a Timeframe or a mapping"),
        ({"timeframe": {"start": "2026-11-10", "end": None}}, "Invalid timeframe end None: expected a date"),
        ({"timeframe": {"start": "2026-11-10", "end": "2026-11-09"}}, "is before the start"),
        (
            {"timeframe": {"start": "2026-11-10", "end": "2026-11-10"}, "start": "2026-11-10"},
            "Both timeframe and selected_timeframe_start or _end are set",
        ),
        ({"start": "2026-11-11", "end": "2026-11-10"}, "the end 2026-11-10 is before the start 2026-11-11"),
        ({"start": "2026-11-10"}, "selected_timeframe_end is missing: set it together"),
        ({"end": "2026-11-10"}, "selected_timeframe_start is missing: set it together"),
        ({"start": "", "end": ""}, "Invalid selected_timeframe_start '': expected a date"),
        ({"start": "yesterday", "end": "2026-11-10"}, "Invalid selected_timeframe_start 'yesterday': expected a date"),
        ({"start": "10.11.2026", "end": "2026-11-10"}, "'10.11.2026': expected a date"),
        ({"start": 20261110, "end": "2026-11-10"}, "20261110: expected a date"),
        ({"days": 0}, "Invalid days 0: expected a whole number above 0"),
        ({"days": True}, "Invalid days True"),
        ({"days": "7"}, "Invalid days '7'"),
        ({}, "neither a data interval nor a run_after"),
    ],
)
def test_invalid_timeframes_are_rejected(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        resolve({}, **options)
    assert text in str(rejected.value)


@given(start=st.dates(date(2000, 1, 1), date(2100, 1, 1)), length=st.integers(1, 800), size=st.integers(1, 400))
def test_chunks_cover_the_same_days_in_order(start: date, length: int, size: int) -> None:
    whole = Timeframe(start, start + timedelta(days=length - 1))
    chunks = whole.chunks(size)
    assert [day for chunk in chunks for day in chunk] == list(whole)
    assert all(len(chunk) == size for chunk in chunks[:-1])


def test_chunks_need_at_least_one_day() -> None:
    with pytest.raises(InvalidExportError, match="Invalid days 0"):
        Timeframe(date(2026, 1, 1), date(2026, 1, 2)).chunks(0)


def test_days_that_are_not_over_are_rejected_on_request() -> None:
    # Two zones in which it is never the same day at noon.
    for zone in (ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Pago_Pago")):
        today = datetime.now(zone).date()
        yesterday = Timeframe(today - timedelta(days=3), today - timedelta(days=1))
        yesterday.require_over(zone)
        with pytest.raises(InvalidExportError, match=f"the end {today} is not over in {zone}") as rejected:
            Timeframe(today, today).require_over(zone)
        assert f"Use {yesterday.end} or earlier" in rejected.value.message


def moments(**options: Any) -> tuple[str, str]:
    end = datetime(2026, 11, 12, 11, tzinfo=UTC)
    context = {"data_interval_start": end, "data_interval_end": end, "dag_run": SimpleNamespace(run_after=end)}
    options = {"start": None, "end": None, "days": 1, "timezone": LOS_ANGELES, **options}
    first, last = resolve_moments(context, **options)
    assert first.tzinfo == last.tzinfo == UTC
    return f"{first:%Y-%m-%d %H:%M:%S.%f}", f"{last:%Y-%m-%d %H:%M:%S.%f}"


def test_days_last_to_their_last_millisecond_in_the_accounts_time_zone() -> None:
    assert moments() == ("2026-11-11 08:00:00.000000", "2026-11-12 07:59:59.999000")
    assert moments(days=2)[0] == "2026-11-10 08:00:00.000000"
    same = ("2026-10-01 07:00:00.000000", "2026-11-01 06:59:59.999000")
    assert moments(timeframe={"start": "2026-10-01", "end": "2026-10-31"}) == same
    assert moments(start=date(2026, 10, 1), end="2026-10-31") == same


@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01", "2026-07-01"])
def test_consecutive_days_neither_overlap_nor_leave_a_gap(day: str) -> None:
    next_day = date.fromisoformat(day) + ONE_DAY
    last = datetime.fromisoformat(moments(start=day, end=day)[1])
    assert datetime.fromisoformat(moments(start=next_day, end=next_day)[0]) - last == timedelta(milliseconds=1)


def test_a_moment_is_used_as_it_is() -> None:
    exact = moments(start="2026-11-10T05:00:00Z", end="2026-11-10T06:00:00+01:00")
    assert exact == ("2026-11-10 05:00:00.000000", "2026-11-10 05:00:00.000000")
    local = moments(start=datetime(2026, 11, 10, 5), end="2026-11-10")  # noqa: DTZ001
    assert local == ("2026-11-10 13:00:00.000000", "2026-11-11 07:59:59.999000")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"start": "2026-11-10"}, "selected_timeframe_end is missing"),
        ({"start": "2026-11-10", "end": "soon"}, "Invalid selected_timeframe_end 'soon'"),
        ({"start": 5, "end": "2026-11-10"}, "Invalid selected_timeframe_start 5"),
        ({"start": "2026-11-10", "end": "2026-11-10", "timeframe": {}}, "set one or the other"),
        ({"days": 0}, "Invalid days 0"),
    ],
)
def test_invalid_moments_are_rejected(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidExportError, match=text):
        moments(**options)
