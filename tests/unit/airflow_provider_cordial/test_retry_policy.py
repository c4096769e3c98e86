"""What becomes of a failed task, by its error; evaluated by Airflow's own code."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import _evaluate_retry_policy

from airflow_provider_cordial import exceptions
from airflow_provider_cordial.retry_policy import LONGEST_DELAY, CordialRetryPolicy


@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (exceptions.RateLimitError("429", retry_after=90), "retry", 90.0),
        (exceptions.RateLimitError("429", retry_after=10**6), "retry", LONGEST_DELAY),
        (exceptions.RateLimitError("429"), "default", None),
        (exceptions.ServerError("503"), "default", None),
        (exceptions.JobFailedError("Failed"), "default", None),
        (exceptions.TransientTableError("deadlock"), "default", None),
        (exceptions.TableError("type"), "fail", None),
        (exceptions.CordialError("other"), "fail", None),
        (ValueError("x"), "default", None),
    ],
)
def test_an_error_decides(error: Exception, action: str, delay: float | None) -> None:
    lines: list[tuple[str, dict[str, Any]]] = []
    log: Any = SimpleNamespace(info=lambda text, **fields: lines.append((text, fields)), exception=pytest.fail)
    task = SimpleNamespace(retry_policy=CordialRetryPolicy())
    ti: Any = SimpleNamespace(task=task, try_number=1, _ti_context_from_server=None)
    decision = _evaluate_retry_policy(ti, error, log)
    assert decision is not None
    assert decision.action.value == action
    assert decision.retry_delay == (None if delay is None else timedelta(seconds=delay))
    assert bool(lines) == (action != "default")


def test_it_survives_serialization() -> None:
    policy = CordialRetryPolicy()
    assert isinstance(CordialRetryPolicy.deserialize(policy.serialize()), CordialRetryPolicy)
