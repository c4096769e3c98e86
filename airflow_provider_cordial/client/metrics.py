"""Metrics through Airflow's own stats: StatsD, Datadog, or OpenTelemetry, as the deployment is configured."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

#: The counters and gauges, and what each counts. All have the prefix ``cordial.``.
METRICS = {
    "export.submitted": "exports that Cordial accepted; tag kind",
    "export.uncertain": "submissions without an answer, whose job was then searched for; tag kind",
    "export.found": "jobs found by their name in place of a second submission; tag kind",
    "export.resumed": "tries that resumed the recorded job; tag kind",
    "poll.requests": "requests for the status of jobs from triggerers; tag connection",
    "waits": "gauge: jobs that a triggerer waits for; tag connection",
    "load.completed": "loads of a file; tag operator",
    "load.rows": "rows that loads brought; tag operator",
    "load.new": "of these, numbers where there was none",
    "load.corrected": "of these, numbers other than before",
    "load.blank": "of these, cells without a number",
    "load.kept": "of these, known numbers that a blank did not replace",
}


def count(name: str, number: int = 1, **tags: str) -> None:
    """Add to a counter.

    :param name: a key of ``METRICS``.
    """
    with suppress(Exception):  # a metric must not fail the work that it counts
        _stats().incr(_full(name), number, tags=tags)


def gauge(name: str, value: int, **tags: str) -> None:
    """Set a gauge.

    :param name: a key of ``METRICS``.
    """
    with suppress(Exception):
        _stats().gauge(_full(name), value, tags=tags)


def _full(name: str) -> str:
    return f"cordial.{name}"


def _stats() -> Any:
    try:
        from airflow.sdk.observability import stats
    except ImportError:  # Airflow 3.0 and 3.1
        from airflow.stats import Stats

        return Stats
    return stats
