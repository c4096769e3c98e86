"""A table that is kept whole: whatever is gone comes back, and nothing else is exported."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import sftp_connection

PROJECT = Path(__file__).resolve().parents[2]
DAGS = Path(__file__).parent / "dags" / "keep"
#: 30 days of one audience, 20 of the other.
CELLS = 50


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_run_fills_what_is_gone_and_exports_nothing_else(cordial_sandbox: SandboxProcess, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse.db"
    cordial = {"conn_type": "cordial", "host": cordial_sandbox.url, "password": cordial_sandbox.api_key}
    connections = {
        "cordial_us": cordial,
        "cordial_eu": cordial,
        "sftp_default": sftp_connection(cordial_sandbox),
        "warehouse": {"conn_type": "sqlite", "host": str(warehouse)},
    }
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()},
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": "0.2",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)

    def run(day: str, *, expected: int = 0) -> tuple[str, str]:
        command = [sys.executable, str(PROJECT / "scripts" / "run_dag.py"), "keep", f"2026-11-{day}T03:00:00-08:00"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == expected, done.stdout + done.stderr[-5000:]
        return done.stdout, done.stderr

    def exported() -> list[tuple[str, str, list[str]]]:
        found = [
            (job["selected_timeframe_start"], job["selected_timeframe_end"], job["audiences"])
            for job in cordial_sandbox.control.jobs()
        ]
        cordial_sandbox.control.reset()
        return sorted(found)

    both, opened = ["opened_last_30_days", "purchased_last_30_days"], ["opened_last_30_days"]
    # Nothing is there: 30 days in parts of 20, and another audience that is tracked for 20 days.
    run("10")
    first = [("2026-10-10", "2026-10-19", opened), ("2026-10-20", "2026-11-08", both)]
    assert exported() == sorted([*first, *first])
    assert count(warehouse) == 2 * CELLS

    # Everything is there: one account exports nothing, the other exports its last two days again.
    printed, _ = run("11")
    assert exported() == [("2026-11-07", "2026-11-08", both)]
    assert "sync skipped" in printed
    assert count(warehouse) == 2 * CELLS

    # Deleted days of one account, and a deleted audience of the other.
    with closing(sqlite3.connect(warehouse)) as connection:
        connection.execute(
            "DELETE FROM audience_trends WHERE account = 'us' AND snapshot_date BETWEEN '2026-10-30' AND '2026-11-01'"
        )
        connection.execute("DELETE FROM audience_trends WHERE account = 'eu' AND audience = 'opened_last_30_days'")
        connection.commit()
    run("12")
    assert exported() == [
        ("2026-10-10", "2026-10-19", opened),
        ("2026-10-20", "2026-11-08", opened),
        ("2026-10-30", "2026-11-01", both),
        ("2026-11-07", "2026-11-08", ["purchased_last_30_days"]),
    ]
    assert count(warehouse) == 2 * CELLS

    # What cannot be exported is named.
    with closing(sqlite3.connect(warehouse)) as connection:
        connection.execute("DELETE FROM audience_trends WHERE snapshot_date = '2026-10-31' AND account = 'us'")
        connection.commit()
    cordial_sandbox.control.fault(
        "create_export", "answer", status=400, body='{"error": true, "message": "The export is refused by the test."}'
    )
    _, log = run("13", expected=1)
    assert "Table 'audience_trends' lacks 2 days of 2 audiences in 2026-10-10 to 2026-11-08." in log
    assert "Audience 'opened_last_30_days': 2026-10-31" in log


def count(warehouse: Path) -> int:
    with closing(sqlite3.connect(warehouse)) as connection:
        key = "account || audience || snapshot_date"
        query = f"SELECT COUNT(*), COUNT(DISTINCT {key}), COUNT(contacts) FROM audience_trends"
        ((rows, distinct, numbers),) = connection.execute(query).fetchall()
    assert rows == distinct == numbers
    return int(rows)
