"""The command line, and a table that lacks some days."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends import Columns, delivery
from airflow_provider_cordial.trends.tables import build_table
from tests.helpers.cli import Cordial
from tests.helpers.loads import QUICK, batch

AUDIENCES = ("opened_last_30_days", "purchased_last_30_days")
WEEK = Timeframe(date(2026, 11, 2), date(2026, 11, 8))


@pytest.fixture
def airflow_cordial(capsys: pytest.CaptureFixture[str]) -> Cordial:
    """``airflow cordial`` in this process."""
    return Cordial(capsys)


@pytest.fixture
def quick_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivered file is read at once."""
    monkeypatch.setattr(delivery, "FileWait", lambda: QUICK)


@pytest.fixture
def table(warehouse: Path) -> str:
    """A table of the week: the first audience lacks Thursday and Friday, and its Saturday is blank."""
    days = [*WEEK]
    table = build_table("warehouse", "trends", Columns(), create=True)
    table.load(batch({AUDIENCES[0]: [1, 2, 3]}, days=days[:3]))
    table.load(batch({AUDIENCES[0]: [None, 7]}, days=days[5:]))
    table.load(batch({AUDIENCES[1]: [*range(10, 17)]}, days=days))
    return "trends"


def week_of(table: str, *audiences: str) -> list[str]:
    """The options of the commands that ask the table."""
    named = [option for name in audiences or AUDIENCES for option in ("--audience", name)]
    days = ["--first-day", str(WEEK.start), "--last-day", str(WEEK.start + timedelta(days=6))]
    return ["--warehouse-conn-id", "warehouse", "--table", table, *named, *days]
