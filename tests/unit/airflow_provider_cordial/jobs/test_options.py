"""How long to wait for a job and how often to poll it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.jobs.options import compute_deadline, default_poll_interval, validate_wait_options

#: The last one is finite, but no float can represent it.
INVALID = [0, 0.0, -1, float("nan"), float("inf"), -float("inf"), True, "60", None, timedelta(seconds=60), 10**400]


@pytest.mark.parametrize("value", [1, 0.05, 60.0, 86_400])
def test_positive_numbers_are_accepted(value: float) -> None:
    validate_wait_options(poll_interval=value, timeout=value)


@pytest.mark.parametrize("value", INVALID, ids=lambda value: str(value)[:10])
@pytest.mark.parametrize(
    ("field", "name", "example"), [("poll_interval", "poll interval", "60"), ("timeout", "timeout", "3600")]
)
def test_invalid_options_are_rejected(field: str, name: str, example: str, value: Any) -> None:
    options: dict[str, Any] = {"poll_interval": 60.0, "timeout": 3600.0, field: value}
    with pytest.raises(InvalidParameterError) as raised:
        validate_wait_options(**options)
    expected = f"Invalid {name} {value!r}: expected a number of seconds above 0. Set it to {example}, for example."
    assert raised.value.message == expected


def test_the_default_poll_interval_is_configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__CORDIAL__POLL_INTERVAL", raising=False)
    assert default_poll_interval() == 30.0
    monkeypatch.setenv("AIRFLOW__CORDIAL__POLL_INTERVAL", "7.5")
    assert default_poll_interval() == 7.5


@pytest.mark.parametrize(
    ("timeout", "execution_timeout", "expected"),
    [
        pytest.param(100.0, None, 100.0, id="without-execution-timeout"),
        pytest.param(100.0, timedelta(hours=1), 100.0, id="timeout-is-shorter"),
        pytest.param(3600.0, timedelta(seconds=200), 190.0, id="execution-timeout-is-shorter"),
        pytest.param(3600.0, timedelta(seconds=20), 18.0, id="execution-timeout-is-very-short"),
        pytest.param(195.0, timedelta(seconds=200), 190.0, id="within-the-margin"),
    ],
)
def test_the_deadline_precedes_the_execution_timeout(
    timeout: float, execution_timeout: timedelta | None, expected: float
) -> None:
    before = time.time()
    deadline = compute_deadline(timeout, execution_timeout)
    assert before + expected <= deadline <= time.time() + expected
