"""A deadline after the account's midnight, in the real scheduler and in the code that creates a run by hand."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.plugin import plugin_path

PROJECT = Path(__file__).resolve().parents[2]
ZONE = ZoneInfo("America/Los_Angeles")

READ = """
SELECT dag_run.dag_id, dag_run.run_after, deadline.deadline_time
FROM dag_run JOIN deadline ON deadline.dagrun_id = dag_run.id
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    variables = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([*plugin_path(tmp_path / "plugin"), str(PROJECT)]),
    }
    shutil.copytree(Path(__file__).parent / "dags" / "deadlines", tmp_path / "dags")
    shutil.copy(PROJECT / "docs" / "examples" / "deadline.py", tmp_path / "dags")
    airflow(variables, "db", "migrate")
    airflow(variables, "dags", "reserialize")
    return variables


def airflow(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        ["airflow", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout + done.stderr


def deadlines(environment: dict[str, str]) -> list[tuple[str, datetime, datetime]]:
    with closing(sqlite3.connect(Path(environment["AIRFLOW_HOME"]) / "airflow.db")) as connection:
        rows = connection.execute(READ).fetchall()
    return [(name, *(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in moments)) for name, *moments in rows]


def expected(day: date) -> datetime:
    """Return the deadline of a day: the second midnight after it, 400 days, and 6 hours."""
    midnight = datetime.combine(day + timedelta(days=2), time.min, ZONE).astimezone(UTC)
    return midnight + timedelta(days=400, hours=6)


@pytest.mark.long
@pytest.mark.xdist_group("airflow")
def test_the_scheduler_writes_the_deadline_of_a_run(environment: dict[str, str]) -> None:
    printed = airflow(environment, "scheduler", "--num-runs", "5", "--skip-serve-logs")
    assert "not registered" not in printed
    ((dag_id, run_after, deadline),) = deadlines(environment)
    assert dag_id == "scheduled"
    # At 5:30 it exports the day before.
    assert deadline == expected(run_after.astimezone(ZONE).date() - timedelta(days=1))


@pytest.mark.long
@pytest.mark.xdist_group("airflow")
def test_a_run_by_hand_has_the_deadline_of_its_day(environment: dict[str, str]) -> None:
    airflow(environment, "dags", "trigger", "by_hand", "--logical-date", "2026-11-12T03:00:00-08:00")
    ((dag_id, _, deadline),) = deadlines(environment)
    assert (dag_id, deadline) == ("by_hand", expected(date(2026, 11, 11)))


@pytest.mark.long
@pytest.mark.xdist_group("airflow")
def test_the_example_of_the_documentation_has_its_deadline_at_six(environment: dict[str, str]) -> None:
    airflow(environment, "dags", "trigger", "docs_deadline", "--logical-date", "2026-11-12T03:00:00-08:00")
    ((_, _, deadline),) = deadlines(environment)
    assert deadline.astimezone(ZONE).isoformat() == "2026-11-12T06:00:00-08:00"
