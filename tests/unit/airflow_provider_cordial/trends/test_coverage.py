"""Which days a table should have, and which it has, without a warehouse."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cordial.exceptions import InvalidExportError, UnsupportedWarehouseError
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends import TrendsBatch, TrendsTable, register_table
from airflow_provider_cordial.trends import tables as registry
from airflow_provider_cordial.trends.coverage import Coverage, expected_days, read_coverage
from tests.helpers.sandbox import SetConnection

WEEK = Timeframe(date(2026, 11, 9), date(2026, 11, 15))


def test_loaded_blank_and_missing_are_told_apart() -> None:
    coverage = Coverage(
        WEEK, {"a": 0b1111111, "b": 0b1110000}, {"a": 0b0000111, "c": 0b1}, {"a": 0b0001000, "b": 0b10001}
    )
    assert coverage.missing() == {
        "a": [date(2026, 11, 13), date(2026, 11, 14), date(2026, 11, 15)],
        "b": [date(2026, 11, 14), date(2026, 11, 15)],
    }
    assert coverage.blanks() == {"a": [date(2026, 11, 12)], "b": [date(2026, 11, 13)]}
    assert coverage.counts() == {"loaded": 3, "blank": 2, "missing": 5}
    assert not coverage.is_complete
    assert coverage.days_of("b") == [date(2026, 11, 13), date(2026, 11, 14), date(2026, 11, 15)]


def test_the_newest_day_is_the_last_one_with_a_number() -> None:
    everything = 0b1111111
    coverage = Coverage(
        WEEK,
        # The last one is tracked from a later day on.
        {**dict.fromkeys(["fresh", "late", "gap", "blank", "nothing"], everything), "new": 0},
        {"fresh": 0b1000000, "late": 0b0111111, "gap": 0b1000001, "blank": 0b0000100, "other": everything},
        {"blank": 0b1000000},
    )
    # When a day was loaded does not count, and neither do holes before the newest one.
    assert coverage.newest() == {
        "fresh": WEEK.end,
        "late": date(2026, 11, 14),
        "gap": WEEK.end,
        "blank": date(2026, 11, 11),
        "nothing": None,
        "new": None,
    }
    assert coverage.stale(WEEK.end) == {"late": date(2026, 11, 14), "blank": date(2026, 11, 11), "nothing": None}
    assert coverage.stale(date(2026, 11, 14)) == {"blank": date(2026, 11, 11), "nothing": None}
    assert coverage.stale(WEEK.start) == {"nothing": None}


@given(
    first=st.dictionaries(st.sampled_from("abc"), st.integers(0, 7)),
    loaded=st.dictionaries(st.sampled_from("abc"), st.integers(0, 127)),
    expected=st.sampled_from([*WEEK]),
)
def test_newest_and_stale_agree_with_the_days(first: dict[str, int], loaded: dict[str, int], expected: date) -> None:
    bits = {audience: 0b1111111 >> skipped << skipped for audience, skipped in first.items()}
    coverage = Coverage(WEEK, bits, loaded)
    stale = coverage.stale(expected)
    for audience, newest in coverage.newest().items():
        days = [day for index, day in enumerate(WEEK) if loaded.get(audience, 0) >> index & 1]
        assert newest == max(days, default=None)
        is_tracked = expected in coverage.days_of(audience)
        assert (audience in stale) == (is_tracked and not any(day >= expected for day in days))
        assert audience not in stale or stale[audience] == newest


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "Pacific/Pago_Pago"])
def test_the_last_day_is_over_in_the_account(zone: str) -> None:
    today = datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
    found = expected_days(3, None, timezone=ZoneInfo(zone), lag=2)
    assert (found.start, found.end) == (today - timedelta(days=4), today - timedelta(days=2))
    assert expected_days(WEEK.start, WEEK.end, timezone=UTC) == WEEK


def test_days_that_cannot_be_are_rejected() -> None:
    with pytest.raises(InvalidExportError, match="Invalid first_day 0"):
        expected_days(0, None, timezone=UTC)
    with pytest.raises(InvalidExportError, match="Invalid lag 0: expected a number of days of 1 or more"):
        expected_days(3, None, timezone=UTC, lag=0)
    with pytest.raises(InvalidExportError, match="before the start"):
        expected_days(WEEK.end, WEEK.start, timezone=UTC)


def test_a_table_class_without_cells_says_so(set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnlyLoads(TrendsTable):
        def load(self, batch: TrendsBatch) -> int:
            return batch.cells

    monkeypatch.setattr(registry, "_TABLES", dict(registry._TABLES))
    register_table("onlyloads", OnlyLoads)
    set_connection("warehouse", conn_type="onlyloads")
    with pytest.raises(UnsupportedWarehouseError, match="OnlyLoads has no method cells"):
        read_coverage("warehouse", "trends", ["a"], WEEK)
