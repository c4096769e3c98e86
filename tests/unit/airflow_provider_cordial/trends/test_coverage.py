"""Which days a table should have, and which it has, without a warehouse."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

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


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "Pacific/Pago_Pago"])
def test_the_last_day_is_over_in_the_account(zone: str) -> None:
    today = datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
    found = expected_days(3, None, timezone=ZoneInfo(zone), lag=2)
    assert (found.start, found.end) == (today - timedelta(days=4), today - timedelta(days=2))
    assert expected_days(WEEK.start, WEEK.end, timezone=UTC) == WEEK


def test_days_that_cannot_be_are_rejected() -> None:
    with pytest.raises(InvalidExportError, match="Invalid first_day 0"):
        expected_days(0, None, timezone=UTC)
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
