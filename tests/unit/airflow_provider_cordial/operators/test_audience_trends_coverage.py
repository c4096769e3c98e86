"""The plan and the verification of a table, asked from a real one."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.exceptions import DaysMissingError, InvalidExportError, TableError
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.operators import AudienceTrendsPlanOperator, AudienceTrendsVerifyOperator
from airflow_provider_cordial.operators.approve_plan import ApprovePlanOperator
from airflow_provider_cordial.trends import Columns
from tests.helpers.errors import in_lines
from tests.helpers.operators import run_context
from tests.helpers.sandbox import SetConnection

WEEK = Timeframe(date(2026, 11, 9), date(2026, 11, 15))


@pytest.fixture
def table(warehouse: Path, set_connection: SetConnection) -> Path:
    """A table of account us with a, whole except two days, and b, of which one day is blank and the rest missing."""
    set_connection(
        "cordial_default",
        conn_type="cordial",
        password="key",
        extra={"timezone": "America/Los_Angeles"},
    )
    rows: list[tuple[str, str, int | None, str]] = [
        *(("a", str(day), 1, "us") for day in WEEK if day.day not in (11, 12)),
        ("b", "2026-11-15", None, "us"),
        ("b", "2026-11-14", 5, "eu"),
    ]
    with closing(sqlite3.connect(warehouse)) as connection:
        connection.execute(
            "CREATE TABLE audience_trends (audience, snapshot_date, contacts, job_id, loaded_at, account)"
        )
        connection.executemany("INSERT INTO audience_trends VALUES (?, ?, ?, 'j', '2026-11-16', ?)", rows)
        connection.commit()
    return warehouse


def options(**more: Any) -> dict[str, Any]:
    return {
        "task_id": "ask",
        "audiences": ["a", "b"],
        "conn_id": "warehouse",
        "timeframe": WEEK.to_json(),
        "columns": Columns(scope={"account": "us"}),
        **more,
    }


def plan(**more: Any) -> Any:
    return AudienceTrendsPlanOperator(**options(**more)).execute(run_context())  # type: ignore[arg-type]


def verify(**more: Any) -> Any:
    return AudienceTrendsVerifyOperator(**options(**more)).execute(run_context())  # type: ignore[arg-type]


def one(audiences: Sequence[str], start: int, end: int) -> dict[str, Any]:
    return {"audiences": [*audiences], "timeframe": {"start": f"2026-11-{start:02}", "end": f"2026-11-{end:02}"}}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, [one("b", 9, 14), one("a", 11, 12)], id="missing"),
        pytest.param({"audiences": {"a": "2026-11-12", "b": date(2026, 11, 15)}}, [one("a", 12, 12)], id="first-days"),
        pytest.param({"look_back": 1}, [one("a", 15, 15), one("b", 9, 15), one("a", 11, 12)], id="look-back"),
        pytest.param({"ask_blanks_again": 1}, [one("b", 9, 15), one("a", 11, 12)], id="blanks"),
        pytest.param({"max_days": 4}, [one("b", 11, 14), one("a", 11, 12), one("b", 9, 10)], id="parts"),
        pytest.param({"max_exports": 1}, [one("b", 9, 14)], id="the-newest-first"),
        pytest.param({"columns": None, "audiences": ["a"]}, [one("a", 11, 12)], id="no-scope"),
        pytest.param(
            {"timeframe": None, "first_day": "2026-11-13", "last_day": "2026-11-13"}, [one("b", 13, 13)], id="days"
        ),
        pytest.param(
            {"timeframe": None, "first_day": " 2 ", "last_day": "2026-11-12"}, [one("ab", 11, 12)], id="days-back"
        ),
    ],
)
def test_a_plan_asks_for_what_is_missing(table: Path, more: Mapping[str, Any], expected: list[Any]) -> None:
    found = plan(**more)
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_the_last_day_is_the_last_one_that_is_over_less_the_lag(table: Path) -> None:
    context = run_context()
    operator = AudienceTrendsPlanOperator(**options(timeframe=None, first_day=3, lag=2))
    (found,) = operator.execute(context)  # type: ignore[arg-type]
    today = datetime.now(UTC).astimezone(ZoneInfo("America/Los_Angeles")).date()
    days = Timeframe(today - timedelta(days=4), today - timedelta(days=2))
    assert found == {"audiences": ["a", "b"], "timeframe": days.to_json()}
    assert context["ti"].xcoms["timeframe"] == days.to_json()


def test_a_whole_table_is_verified(table: Path) -> None:
    whole = {"a": 10, "b": 15}
    audiences = {name: date(2026, 11, day) for name, day in whole.items()}
    assert verify(audiences=audiences, timeframe=WEEK.to_json() | {"start": "2026-11-13"}) == {
        "loaded": 3,
        "blank": 1,
        "missing": 0,
    }


def test_what_is_missing_is_named(table: Path) -> None:
    with pytest.raises(
        DaysMissingError,
        match=in_lines("Audience 'a': 2026-11-11 to 2026-11-12. Audience 'b': 2026-11-09 to 2026-11-14. "),
    ) as failed:
        verify()
    first, *_ = str(failed.value).splitlines()
    assert first == "Table 'audience_trends' lacks 8 days of 2 audiences in 2026-11-09 to 2026-11-15."
    assert isinstance(failed.value, AirflowFailException)


def test_many_audiences_are_counted(table: Path) -> None:
    with pytest.raises(DaysMissingError, match="And 2 more audiences"):
        verify(audiences=[f"new-{number}" for number in range(12)])


def test_a_missing_table_is_created_or_an_error(table: Path) -> None:
    assert plan(table="new", create_table=True, audiences=["a"]) == [one("a", 9, 15)]
    with pytest.raises(TableError, match="nowhere"):
        plan(table="nowhere")


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"timeframe": None}, "first_day is missing"),
        ({"timeframe": None, "first_day": 0}, "Invalid first_day 0"),
        ({"timeframe": None, "first_day": "-3"}, "Invalid first_day -3"),
        ({"timeframe": None, "first_day": "soon"}, "Invalid first_day 'soon'"),
        ({"audiences": []}, "the list is empty"),
        ({"audiences": "a"}, "Invalid audiences 'a'"),
        ({"audiences": {"a": "once"}}, "Invalid first day of audience 'a' 'once'"),
        ({"max_exports": 0}, "Invalid max_exports 0"),
        ({"look_back": -1}, "Invalid look_back -1"),
    ],
)
def test_bad_parameters_are_rejected(table: Path, more: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidExportError, match=error):
        plan(**more)


def test_a_small_plan_needs_no_approval() -> None:
    operator = ApprovePlanOperator(task_id="approve", plan=[one("a", 1, 2)], above=1)
    assert operator.execute(run_context()) is None  # type: ignore[arg-type]
