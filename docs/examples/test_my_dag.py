"""Tests of a DAG against a local Cordial; tests/integration/test_docs.py runs them."""

# [START setup]
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.sdk import DAG

from cordial_sandbox.testing import CordialAccount

MORNING = datetime(2026, 11, 12, 11, tzinfo=UTC)


@pytest.fixture
def dag(cordial_account: CordialAccount) -> DAG:
    """Return the DAG; it is imported here because it reads the poll interval then."""
    from cordial_trends import dag

    return dag


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Return a database behind the connection ``warehouse``."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path)) as connection:
        yield connection


# [END setup]


# [START test]
def test_a_day_is_loaded(cordial_account: CordialAccount, dag: DAG, warehouse: sqlite3.Connection) -> None:
    cordial_account.audiences({"opened_last_30_days": {"2026-11-11": 5}, "purchased_last_30_days": 3})
    assert dag.test(logical_date=MORNING).state == "success"
    rows = warehouse.execute("SELECT snapshot_date, audience, contacts FROM audience_trends ORDER BY audience")
    assert [*rows] == [("2026-11-11", "opened_last_30_days", 5), ("2026-11-11", "purchased_last_30_days", 3)]


# [END test]


# [START failures]
def test_a_failed_export_loads_nothing(
    cordial_account: CordialAccount, dag: DAG, warehouse: sqlite3.Connection
) -> None:
    cordial_account.fate(fails_with="Permission denied")
    assert dag.test(logical_date=MORNING).state == "failed"
    assert [job["status"] for job in cordial_account.jobs()] == ["Failed"]
    assert warehouse.execute("SELECT name FROM sqlite_master WHERE name = 'audience_trends'").fetchall() == []


def test_two_server_errors_are_retried(
    cordial_account: CordialAccount, dag: DAG, warehouse: sqlite3.Connection
) -> None:
    cordial_account.fault("get_job", "answer", status=503, times=2)
    assert dag.test(logical_date=MORNING).state == "success"
    assert [request["status"] for request in cordial_account.requests()].count(503) == 2


def test_a_day_that_is_not_over_is_blank(
    cordial_account: CordialAccount, dag: DAG, warehouse: sqlite3.Connection
) -> None:
    cordial_account.clock(now="2026-11-11T12:00:00", stopped=True)
    assert dag.test(logical_date=MORNING).state == "success"
    assert [*warehouse.execute("SELECT DISTINCT contacts FROM audience_trends")] == [(None,)]


# [END failures]
