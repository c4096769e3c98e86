"""Tests of a DAG against a local Cordial; tests/integration/test_docs.py runs them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.sdk import DAG

from cordial_sandbox.process import SandboxProcess


# [START connections]
@pytest.fixture
def warehouse(cordial_sandbox: SandboxProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database behind the connection ``warehouse``, and the connections to the local Cordial."""
    database = tmp_path / "warehouse.db"
    connections = {
        **json.loads((cordial_sandbox.data / "airflow-connections.json").read_text()),
        "warehouse": {"conn_type": "sqlite", "host": str(database)},
    }
    for name, fields in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    return database


# [END connections]


@pytest.fixture
def dag() -> DAG:
    """The DAG, whose file is in the DAGs folder."""
    import cordial_trends

    return cordial_trends.dag


# [START tests]
def test_a_day_is_loaded(dag: DAG, warehouse: Path) -> None:
    run = dag.test(logical_date=datetime(2026, 11, 12, 11, tzinfo=UTC))
    assert run.state == "success"
    with closing(sqlite3.connect(warehouse)) as connection:
        days = connection.execute("SELECT DISTINCT snapshot_date FROM audience_trends").fetchall()
    assert days == [("2026-11-11",)]


def test_a_failed_export_loads_nothing(dag: DAG, warehouse: Path, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_fails_with="Permission denied")
    run = dag.test(logical_date=datetime(2026, 11, 12, 11, tzinfo=UTC))
    assert run.state == "failed"


def test_a_server_error_is_no_failure(dag: DAG, warehouse: Path, cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fault("get_job", "answer", status=503, times=2)
    run = dag.test(logical_date=datetime(2026, 11, 12, 11, tzinfo=UTC))
    assert run.state == "success"


# [END tests]
