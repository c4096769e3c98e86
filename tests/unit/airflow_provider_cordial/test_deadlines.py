"""From which moment on the day of a run can be exported."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import AsyncCallback, DeadlineAlert  # type: ignore[attr-defined]
from airflow.serialization.encoders import encode_deadline_alert

from airflow_provider_cordial.deadlines import AccountMidnight
from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.plugins import CordialPlugin
from tests.helpers.plugin import plugin_entry_points

LOS_ANGELES = ZoneInfo("America/Los_Angeles")


def run(**fields: Any) -> SimpleNamespace:
    nothing: dict[str, Any] = dict.fromkeys(["logical_date", "data_interval_start", "data_interval_end"])
    return SimpleNamespace(
        **{**nothing, "partition_key": None, "run_after": datetime(2026, 11, 12, 11, tzinfo=UTC), **fields}
    )


def interval(start: datetime, end: datetime) -> SimpleNamespace:
    return run(data_interval_start=start, data_interval_end=end, logical_date=start)


def at(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=LOS_ANGELES)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("one", "lag", "expected"),
    [
        pytest.param(interval(at(2026, 11, 11), at(2026, 11, 12)), 1, "2026-11-12T08:00", id="a-day"),
        pytest.param(interval(at(2026, 11, 11), at(2026, 11, 12)), 3, "2026-11-14T08:00", id="two-days-later"),
        pytest.param(interval(at(2026, 11, 2), at(2026, 11, 9)), 1, "2026-11-09T08:00", id="the-last-day-of-a-week"),
        pytest.param(interval(at(2026, 11, 12, 3), at(2026, 11, 12, 3)), 1, "2026-11-12T08:00", id="cron"),
        # 23:00 in Los Angeles is the next day in UTC.
        pytest.param(
            interval(datetime(2026, 11, 12, 7, tzinfo=UTC), datetime(2026, 11, 12, 7, tzinfo=UTC)),
            1,
            "2026-11-11T08:00",
            id="cron-in-another-time-zone",
        ),
        pytest.param(run(), 1, "2026-11-12T08:00", id="by-hand-or-by-an-asset"),
        pytest.param(run(partition_key="2026-11-05T00:00:00"), 1, "2026-11-06T08:00", id="partition"),
        # The clock changed at 2:00: midnight was in summer time, the one after it is not.
        pytest.param(interval(at(2026, 10, 31), at(2026, 11, 1)), 1, "2026-11-01T07:00", id="before-the-clock-change"),
        pytest.param(interval(at(2026, 11, 1), at(2026, 11, 2)), 1, "2026-11-02T08:00", id="after-the-clock-change"),
    ],
)
def test_the_midnight_ends_the_day_of_the_run(one: SimpleNamespace, lag: int, expected: str) -> None:
    found = AccountMidnight(timezone="America/Los_Angeles", lag=lag).midnight(one)
    assert (found.isoformat(timespec="minutes"), found.tzinfo) == (f"{expected}+00:00", UTC)


def test_another_account_has_another_midnight() -> None:
    one = run(run_after=datetime(2026, 11, 12, 11, tzinfo=UTC))
    assert AccountMidnight("Pacific/Kiritimati").midnight(one) == datetime(2026, 11, 12, 10, tzinfo=UTC)
    assert AccountMidnight("UTC").midnight(one) == datetime(2026, 11, 12, tzinfo=UTC)


def test_a_midnight_that_a_clock_change_leaves_out_is_the_first_moment_of_the_day() -> None:
    # In Cairo, the clocks went from 0:00 to 1:00 on that day.
    one = interval(datetime(2026, 4, 23, 12, tzinfo=UTC), datetime(2026, 4, 24, 12, tzinfo=UTC))
    found = AccountMidnight("Africa/Cairo").midnight(one)
    assert found.astimezone(ZoneInfo("Africa/Cairo")).isoformat() == "2026-04-24T01:00:00+03:00"


def test_it_is_serialized_with_its_parameters_and_its_class() -> None:
    reference = AccountMidnight(timezone="Europe/Berlin", lag=2)
    alert = DeadlineAlert(reference, timedelta(hours=6), AsyncCallback("some.where"))
    encoded = json.loads(json.dumps(encode_deadline_alert(alert)["reference"]))
    assert encoded == {
        "reference_type": "AccountMidnight",
        "timezone": "Europe/Berlin",
        "lag": 2,
        "__class_path": "airflow_provider_cordial.deadlines.AccountMidnight",
    }
    assert AccountMidnight.deserialize_reference(encoded) == reference
    assert AccountMidnight() == AccountMidnight("America/Los_Angeles", 1) != reference


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timezone": "Mars/Olympus"}, "Invalid timezone 'Mars/Olympus': expected an IANA name"),
        ({"timezone": None}, "Invalid timezone None"),
        ({"lag": 0}, "Invalid lag 0: expected a number of days of 1 or more"),
        ({"lag": 1.5}, "Invalid lag 1.5"),
    ],
)
def test_invalid_parameters_are_rejected_when_the_dag_is_parsed(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        AccountMidnight(**options)


def test_the_plugin_of_the_distribution_registers_it() -> None:
    (path,) = plugin_entry_points().values()
    module, _, name = path.partition(":")
    assert getattr(importlib.import_module(module), name) is CordialPlugin
    assert CordialPlugin.deadline_references == [AccountMidnight]


def test_the_plugin_is_empty_where_airflow_has_no_such_references() -> None:
    code = (
        "import airflow.sdk.definitions.deadline as module; del module.BaseDeadlineReference; "
        "from airflow_provider_cordial.plugins import CordialPlugin; print(CordialPlugin.deadline_references)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, airflow.plugins_manager, airflow.sdk.definitions.deadline; before = set(sys.modules); "
        "import airflow_provider_cordial.plugins; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()[-1].split()) <= {"airflow", "airflow_provider_cordial"}
