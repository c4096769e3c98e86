"""The commands and DAGs that the documentation quotes, run against the sandbox."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
from airflow.models.connection import Connection

from airflow_provider_cordial.client.connection import CordialConnection
from cordial_sandbox.process import SandboxProcess

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "docs" / "examples"

#: Runs each DAG of a file for one logical date, and prints its state.
RUN_ALL = """
import sys
from datetime import datetime
from airflow.dag_processing.dagbag import DagBag

dags = DagBag(sys.argv[1])
assert dags.import_errors == {}, dags.import_errors
for dag_id, dag in sorted(dags.dags.items()):
    run = dag.test(logical_date=datetime.fromisoformat("2026-11-12T03:00:00-08:00"))
    tasks = sorted({(task.task_id, task.state) for task in run.get_task_instances()})
    print("RUN", dag_id, run.state, *(f"{name}={state}" for name, state in tasks), flush=True)
"""


@pytest.fixture
def environment(cordial_sandbox: SandboxProcess, tmp_path: Path) -> dict[str, str]:
    """An Airflow home with a database, and the connections to the sandbox."""
    connections = {
        **json.loads((cordial_sandbox.data / "airflow-connections.json").read_text()),
        "warehouse": {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")},
    }
    # Several accounts, which are the same one here.
    connections |= {f"cordial_{account}": connections["cordial_default"] for account in ("us", "eu")}
    variables = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()},
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW_VAR_CONTACTS_FOLDER": str(tmp_path / "contacts"),
        "AIRFLOW_VAR_TRENDS_FOLDER": str(tmp_path / "trends"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": "0.2",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # The code of this folder, also where another one is installed.
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    (tmp_path / "dags").mkdir()
    subprocess.run(["airflow", "db", "migrate"], env=variables, check=True, capture_output=True)
    return variables


def run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def test_the_recipes_run(environment: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "recipes.py", tmp_path / "dags")
    printed = run([sys.executable, "-c", RUN_ALL, str(tmp_path / "dags")], environment, tmp_path)
    states = {line.split()[1]: line.split()[2] for line in printed.splitlines() if line.startswith("RUN ")}
    assert states == dict.fromkeys(
        [
            "docs_after_load",
            "docs_approval",
            "docs_corrections",
            "docs_csv_format",
            "docs_files",
            "docs_freshness",
            "docs_keep_accounts",
            "docs_keep_approved",
            "docs_one_task",
            "docs_ranges",
            "docs_reconcile",
            "docs_retry_policy",
            "docs_sync",
            "docs_timeframe",
        ],
        "success",
    ), printed[-5000:]
    assert (tmp_path / "trends" / "snapshot_date=2026-11-11" / "audience_trends.csv").exists()
    # The earlier recipes have loaded the first and the last of 28 days, and the recipe itself loads the others.
    with (tmp_path / "trends" / "differences.csv").open(newline="") as file:
        differences = {(row["snapshot_date"], row["difference"]) for row in csv.DictReader(file)}
    first = date(2026, 10, 16)
    assert differences == {(str(first + timedelta(days=number)), "missing") for number in range(26)}
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as warehouse:
        query = "SELECT count(*) FROM audience_trends WHERE snapshot_date BETWEEN '2026-10-15' AND '2026-11-11'"
        assert warehouse.execute(query).fetchone() == (2 * 28,)


#: Runs the recipe twice; in between all numbers of the table change, and a person approves at once.
RUN_APPROVED = """
import sqlite3, sys
from datetime import UTC, datetime
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators.hitl import ApprovalOperator

def approve(operator, context):
    answer = {"params_input": {}, "responded_at": datetime.now(UTC), "responded_by_user": None}
    return operator.execute_complete(context, {"chosen_options": [operator.APPROVE], **answer})

ApprovalOperator.execute = approve
dag = DagBag(sys.argv[1]).dags["docs_approval"]
for _ in range(2):
    run = dag.test(logical_date=datetime.fromisoformat("2026-11-12T03:00:00-08:00"))
    states = {task.task_id: str(task.state) for task in run.get_task_instances()}
    print("RUN", run.state, *(states[name] for name in ("load", "approve", "load_approved")), flush=True)
    with sqlite3.connect(sys.argv[2]) as connection:
        corrections = connection.execute("SELECT COUNT(*) FROM approved_trends_corrections").fetchone()
        print("CORRECTIONS", *corrections, flush=True)
        connection.execute("UPDATE approved_trends SET contacts = 10 * contacts + 1")
"""


def test_a_load_that_was_held_back_is_approved(environment: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "recipes.py", tmp_path / "dags")
    command = [sys.executable, "-c", RUN_APPROVED, str(tmp_path / "dags"), str(tmp_path / "warehouse.db")]
    printed = run(command, environment, tmp_path)
    lines = [line for line in printed.splitlines() if line.startswith(("RUN ", "CORRECTIONS "))]
    assert lines == [
        "RUN success success skipped skipped",
        "CORRECTIONS 0",
        "RUN success failed success success",
        "CORRECTIONS 2",
    ], printed[-5000:]
    assert "The load would change" in printed


def test_the_recipes_of_other_exports_run(environment: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "other_exports.py", tmp_path / "dags")
    printed = run([sys.executable, "-c", RUN_ALL, str(tmp_path / "dags")], environment, tmp_path)
    states = {line.split()[1]: line.split()[2] for line in printed.splitlines() if line.startswith("RUN ")}
    dags = ["docs_activity", "docs_analytics", "docs_contacts", "docs_hour"]
    assert states == dict.fromkeys(dags, "success"), printed[-5000:]
    (copied,) = (tmp_path / "contacts").iterdir()
    assert gzip.decompress(copied.read_bytes()).startswith(b"channels.email.address,")


def test_the_tests_of_a_dag_pass(environment: dict[str, str], tmp_path: Path) -> None:
    # The fixture cordial_account sets the connections, and the interval of the polls.
    for name in [name for name in environment if name.startswith(("AIRFLOW_CONN_", "AIRFLOW__CORDIAL_"))]:
        del environment[name]
    shutil.copy(EXAMPLES / "test_my_dag.py", tmp_path)
    shutil.copy(EXAMPLES / "cordial_trends.py", tmp_path / "dags")
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path / 'dags'}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_dag.py"]
    assert "4 passed" in run(command, environment, tmp_path)


def test_the_commands_of_the_connection_page_work(
    environment: dict[str, str], cordial_sandbox: SandboxProcess, tmp_path: Path
) -> None:
    variables = {key: value for key, value in environment.items() if not key.startswith("AIRFLOW_CONN_")}
    variables |= {"CORDIAL_HOST": cordial_sandbox.url, "CORDIAL_API_KEY": cordial_sandbox.api_key}
    script = f". {EXAMPLES / 'connection.sh'} >&2; python -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    done = subprocess.run(
        ["bash", "-euc", script], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert "Connection success!" in done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    connection = Connection.from_json(found["AIRFLOW_CONN_CORDIAL_DEFAULT"], conn_id="cordial_default")
    read = CordialConnection.from_airflow(connection)
    assert (read.base_url, read.timezone.key) == ("https://api.usw2.cordial.io", "America/New_York")


def test_the_commands_of_backfills_and_limits_work(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("example_daily_backfill.py", "example_audience_trends.py"):
        shutil.copy(PROJECT / "example_dags" / name, tmp_path / "dags")
    run(["airflow", "dags", "reserialize"], environment, tmp_path)
    printed = run(["bash", "-euc", f". {EXAMPLES / 'backfill.sh'}"], environment, tmp_path)
    assert "2026-01-31" in printed


@pytest.mark.timeout(600)
@pytest.mark.long
def test_the_command_line_page_shows_what_its_commands_print(tmp_path: Path) -> None:
    # The commands of command_line.sh, and their output in command_line.txt.
    run([sys.executable, str(PROJECT / "scripts" / "command_line.py")], dict(os.environ), tmp_path)


def test_the_command_for_an_account_of_a_warehouse_works(tmp_path: Path) -> None:
    (tmp_path / "connection.json").write_text(json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "x.db")}))
    (command,) = [
        line for line in (EXAMPLES / "test_warehouse.sh").read_text().splitlines() if line.startswith("python")
    ]
    command = command.replace("connection.json", str(tmp_path / "connection.json")).replace("python", sys.executable, 1)
    # The tests themselves drop and create the table many times.
    assert "tests" in run(["bash", "-c", f"{command} --collect-only -q"], dict(os.environ), PROJECT)
