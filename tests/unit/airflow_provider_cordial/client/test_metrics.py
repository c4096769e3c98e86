"""Metrics arrive at a StatsD server, as Airflow is configured for it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_cordial.client import metrics

PACKAGE = Path(metrics.__file__).parents[1]


def test_metrics_are_sent_through_airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        code = (
            "from airflow.sdk.observability.metrics.stats_utils import get_stats_factory\n"
            "from airflow.sdk.observability import stats\n"
            "stats.initialize(factory=get_stats_factory(), export_legacy_names=False)\n"
            "from airflow_provider_cordial.client import metrics\n"
            "metrics.count('load.rows', 7, operator='x'); metrics.gauge('waits', 3, connection='c')\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        received: list[str] = []
        while len(received) < 2:
            if (line := server.recv(1000).decode()).startswith("airflow.cordial."):
                received.append(line)
        assert received == ["airflow.cordial.load.rows:7|c", "airflow.cordial.waits:3|g"]


def test_a_metric_never_fails_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError

    monkeypatch.setattr(metrics, "_stats", broken)
    metrics.count("load.rows", 7)
    metrics.gauge("waits", 7)


def test_the_table_has_exactly_the_metrics_that_are_sent() -> None:
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    sent = set(re.findall(r'metrics\.(?:count|gauge)\(\s*"([\w.]+)"', sources))
    sent |= {f"load.{name}" for name in ("rows", "new", "corrected", "blank", "kept")}
    assert sent == set(metrics.METRICS)
