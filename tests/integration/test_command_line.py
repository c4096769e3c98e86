"""The command line beside Airflow's database: connections are read from it, and its absence is an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cordial_sandbox.process import SandboxProcess

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """An Airflow home without a database, and the commands of this version of Airflow, or of another one."""
    executables = request.config.getoption("--airflow-bin") or Path(sys.executable).parent
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PATH": f"{Path(executables).absolute()}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def cordial(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["python", "-m", "airflow_provider_cordial.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_connections_are_read_from_the_database(environment: dict[str, str], sandbox: SandboxProcess) -> None:
    subprocess.run(["airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    fields = ["--conn-type", "cordial", "--conn-host", sandbox.url, "--conn-password", sandbox.api_key]
    add = ["airflow", "connections", "add", "cordial_default", *fields]
    subprocess.run(add, env=environment, check=True, capture_output=True)
    done = cordial(environment, "doctor", "--output", "json")
    assert done.returncode == 0, done.stderr
    states = {check["name"]: check["state"] for check in json.loads(done.stdout)}
    assert states["list of jobs"] == "ok"
    # No triggerer runs, which only the database shows.
    assert states["triggerer"] == "warning"
    missing = cordial(environment, "jobs", "list", "--cordial-conn-id", "nowhere")
    assert (missing.returncode, "'nowhere' does not exist" in missing.stderr) == (1, True), missing
    assert "Traceback" not in missing.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_missing_database_is_an_error_of_adopt_alone(environment: dict[str, str], sandbox: SandboxProcess) -> None:
    secret = {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key}
    environment["AIRFLOW_CONN_CORDIAL_DEFAULT"] = json.dumps(secret)
    assert cordial(environment, "jobs", "list", "--output", "json").stdout == "[]\n"
    days = ["--audience", "opened_last_30_days", "--start", "2026-11-10", "--end", "2026-11-10"]
    job_id = json.loads(cordial(environment, "export", *days, "--destination", "aws").stdout)["job_id"]
    done = cordial(environment, "adopt", "dag", "run", "task", job_id)
    assert done.returncode == 1
    assert "Airflow's database cannot be read or written: OperationalError." in done.stderr
    assert "Traceback" not in done.stderr
