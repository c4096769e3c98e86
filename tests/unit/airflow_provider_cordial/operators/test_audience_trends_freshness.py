"""Whether a table has the newest day of each audience, by the account's midnight."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import DAG

from airflow_provider_cordial.exceptions import (
    CordialError,
    InvalidConnectionError,
    InvalidExportError,
    InvalidParameterError,
    StaleTableError,
    TableError,
)
from airflow_provider_cordial.operators import AudienceTrendsFreshnessOperator
from airflow_provider_cordial.trends import Columns
from cordial_sandbox.process import SandboxProcess
from tests.helpers.errors import in_lines
from tests.helpers.operators import run_context
from tests.helpers.sandbox import SetConnection

#: One of them has a later date than the other at any moment.
ZONES = ("Pacific/Kiritimati", "Pacific/Pago_Pago")


def build(**options: Any) -> AudienceTrendsFreshnessOperator:
    return AudienceTrendsFreshnessOperator(
        **{"task_id": "fresh", "audiences": ["a", "b"], "conn_id": "warehouse", **options}
    )


def check(**options: Any) -> dict[str, Any]:
    result: dict[str, Any] = build(**options).execute(run_context())  # type: ignore[arg-type]
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


def set_account(set_connection: SetConnection, zone: str) -> None:
    # Nothing is there: a request would fail.
    set_connection(
        "cordial_default", conn_type="cordial", host="http://127.0.0.1:9", password="k1", extra={"timezone": zone}
    )


@pytest.fixture(params=ZONES)
def yesterday(request: pytest.FixtureRequest, set_connection: SetConnection) -> date:
    """The last day that is over in the account."""
    set_account(set_connection, request.param)
    return datetime.now(UTC).astimezone(ZoneInfo(request.param)).date() - timedelta(days=1)


def fill(warehouse: Path, *cells: tuple[str, date, int | None]) -> None:
    with closing(sqlite3.connect(warehouse)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS audience_trends (audience, snapshot_date, contacts, account)")
        rows = [(name, day.isoformat(), number, "us") for name, day, number in cells]
        connection.executemany("INSERT INTO audience_trends VALUES (?, ?, ?, ?)", rows)


def before(day: date, days: int) -> date:
    return day - timedelta(days=days)


def test_a_table_with_the_newest_day_is_fresh(warehouse: Path, yesterday: date) -> None:
    # Holes do not count, and neither do other audiences.
    fill(warehouse, ("a", yesterday, 1), ("b", yesterday, 0), ("a", before(yesterday, 9), 1))
    assert check() == {"expected": str(yesterday), "newest": {"a": str(yesterday), "b": str(yesterday)}, "stale": []}


def test_stale_audiences_fail_the_task_with_their_newest_days(warehouse: Path, yesterday: date) -> None:
    old = before(yesterday, 3)
    fill(
        warehouse,
        ("a", old, 1),
        ("a", yesterday, None),
        # Too old to be read.
        ("b", before(yesterday, 40), 1),
        ("c", yesterday, 1),
    )
    with pytest.raises(StaleTableError) as failed:
        check(audiences=["a", "b", "c"])
    first, second, _ = str(failed.value).splitlines()
    assert first == f"2 of 3 audiences are stale in table 'audience_trends': no number since {yesterday}."
    assert second == f"Newest days: 'b' none in 31 days, 'a' {old}."
    assert failed.value.retry_helps


def test_a_warning_returns_what_is_stale(warehouse: Path, yesterday: date, capsys: pytest.CaptureFixture[str]) -> None:
    old = before(yesterday, 1)
    fill(warehouse, ("a", old, 1), ("b", yesterday, 1))
    assert check(on_stale="warn") == {
        "expected": str(yesterday),
        "newest": {"a": str(old), "b": str(yesterday)},
        "stale": ["a"],
    }
    assert "1 of 2 audiences are stale" in capsys.readouterr().out


def test_days_that_were_filled_late_are_not_fresh(warehouse: Path, yesterday: date) -> None:
    fill(warehouse, *(("a", before(yesterday, number), 1) for number in range(1, 20)))
    with pytest.raises(StaleTableError, match=f"'a' {before(yesterday, 1)}"):
        check(audiences=["a"])


def test_the_lag_moves_the_expected_day(warehouse: Path, yesterday: date) -> None:
    fill(warehouse, ("a", before(yesterday, 2), 1), ("b", yesterday, 1))
    # Newer than expected is fresh, with a hole on the expected day.
    assert check(audiences=["b"], lag=2) == {
        "expected": str(before(yesterday, 1)),
        "newest": {"b": str(yesterday)},
        "stale": [],
    }
    assert check(lag=3)["stale"] == []
    with pytest.raises(StaleTableError, match=f"no number since {before(yesterday, 1)}"):
        check(lag=2)


def test_an_audience_that_is_not_tracked_yet_is_not_stale(warehouse: Path, yesterday: date) -> None:
    fill(warehouse, ("a", yesterday, 1))
    tomorrow = yesterday + timedelta(days=1)
    assert check(audiences={"a": "2026-01-01", "new": tomorrow})["stale"] == []
    with pytest.raises(StaleTableError, match="'new' none in 7 days"):
        check(audiences={"a": "2026-01-01", "new": yesterday}, first_day=7)


def test_only_rows_of_the_scope_count(warehouse: Path, yesterday: date) -> None:
    fill(warehouse, ("a", yesterday, 1))
    assert check(audiences=["a"], columns=Columns(scope={"account": "us"}))["stale"] == []
    with pytest.raises(StaleTableError):
        check(audiences=["a"], columns=Columns(scope={"account": "eu"}))


def test_a_given_day_can_be_expected(warehouse: Path, yesterday: date) -> None:
    fill(warehouse, ("a", date(2026, 3, 31), 1))
    month = {"first_day": "2026-03-01", "last_day": "2026-03-31"}
    assert check(audiences=["a"], **month)["expected"] == "2026-03-31"
    with pytest.raises(StaleTableError, match="'b' none in 31 days"):
        check(**month)


def test_at_most_ten_audiences_are_named(warehouse: Path, yesterday: date) -> None:
    fill(warehouse)
    with pytest.raises(StaleTableError) as failed:
        check(audiences=[f"audience {number:02}" for number in range(14)])
    assert str(failed.value).count("none in 31 days") == 10
    assert "'audience 09' none in 31 days, and 4 more." in str(failed.value)


def test_a_table_that_does_not_exist_is_an_error(warehouse: Path, yesterday: date) -> None:
    with pytest.raises(TableError, match="audience_trends"):
        check()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"on_stale": "ignore"}, InvalidParameterError, "Invalid on_stale 'ignore': expected 'fail' or 'warn'"),
        ({"first_day": 0}, InvalidExportError, "Invalid first_day 0: expected a date"),
        ({"lag": 0}, InvalidExportError, "Invalid lag 0: expected a number of days"),
        ({"audiences": []}, InvalidExportError, "the list is empty"),
        ({"audiences": {"a": "soon"}}, InvalidExportError, "Invalid first day of audience 'a' 'soon'"),
        ({"table": "a-b"}, InvalidExportError, "Invalid table name 'a-b'"),
        ({"cordial_conn_id": "gone"}, InvalidConnectionError, "gone"),
    ],
)
def test_invalid_parameters_are_rejected(
    warehouse: Path,
    set_connection: SetConnection,
    options: dict[str, Any],
    error: type[CordialError],
    text: str,
) -> None:
    set_account(set_connection, "UTC")
    with pytest.raises(error, match=in_lines(text)):
        check(**options)


def test_no_request_is_sent(cordial: SandboxProcess, warehouse: Path) -> None:
    fill(warehouse)
    cordial.control.clear_requests()
    with pytest.raises(StaleTableError):
        check()
    assert cordial.control.requests() == []


def test_templates_are_rendered_in_a_dag() -> None:
    with DAG("d"):
        task = build(audiences=["{{ params.audience }}"], columns=Columns(scope={"account": "{{ params.account }}"}))
    task.render_template_fields({"params": {"audience": "a"}})
    assert task.audiences == ["a"]
