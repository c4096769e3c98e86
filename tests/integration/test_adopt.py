"""``airflow cordial adopt`` in a whole Airflow: an uncertain task gets its job, and the run continues."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.integration.airflow import Airflow
from tests.integration.servers.postgres import Postgres

DAGS = Path(__file__).parent / "dags" / "adopt"


@pytest.fixture
def executables(request: pytest.FixtureRequest) -> Path:
    """The folder of the commands: of this version of Airflow, or of another one."""
    folder = request.config.getoption("--airflow-bin")
    return Path(folder).absolute() if folder else Path(sys.executable).parent


@pytest.fixture
def airflow(tmp_path: Path, postgres: Postgres, sandbox: SandboxProcess, executables: Path) -> Iterator[Airflow]:
    cordial = {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key}
    environment = {
        "AIRFLOW_CONN_CORDIAL_DEFAULT": json.dumps(cordial),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": "1",
    }
    metadata = postgres.with_database("adopt")
    with Airflow(tmp_path / "airflow", metadata, DAGS, environment, executables) as airflow:
        airflow.wait_until_ready("plain")
        airflow.wait_until_ready("mapped")
        yield airflow


@pytest.mark.long
@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(600)
def test_an_uncertain_task_gets_its_job(airflow: Airflow, sandbox: SandboxProcess) -> None:
    def adopt(*arguments: str) -> subprocess.CompletedProcess[str]:
        # The command of every version.
        return airflow.run("python", "-m", "airflow_provider_cordial.cli", "adopt", *arguments, "--output", "json")

    # Airflow 3.4 has renamed the column.
    named = "SELECT 1 FROM information_schema.columns WHERE table_name = %s AND column_name = 'map_index'"
    index = "map_index" if airflow.rows(named, "task_instance") else "region_index"

    def tasks(dag_id: str) -> list[tuple[Any, ...]]:
        query = f"SELECT task_id, {index}, state, try_number FROM task_instance WHERE dag_id = %s ORDER BY 1, 2, 4"
        # The last try of each: Airflow 3.4 has a row per try.
        return [*{row[:2]: row for row in airflow.rows(query, dag_id)}.values()]

    def result(dag_id: str, map_index: int = -1) -> Any:
        """Return the job id that a task has returned."""
        task = f"/dags/{dag_id}/dagRuns/{dag_id}-by-hand/taskInstances/export"
        return airflow.call("GET", f"{task}/xcomEntries/return_value?map_index={map_index}")["value"]

    # The answers are lost, and the list that would show the jobs is forbidden.
    sandbox.control.fault("create_export", "reset", processed=True, times=3)
    sandbox.control.fault("list_jobs", "answer", status=403)
    for dag_id in ("plain", "mapped"):
        airflow.trigger(dag_id)
    airflow.wait_for({"plain": ["failed"], "mapped": ["failed"]}, 180)
    assert tasks("plain") == [("after", -1, "upstream_failed", 0), ("export", -1, "failed", 1)]
    sandbox.control.clear_faults()
    jobs = {(job["name"][:3], *job["audiences"]): job["id"] for job in sandbox.control.jobs()}
    assert len(jobs) == 3
    plain = jobs["pla", "opened_last_30_days"]
    run = ("plain", "plain-by-hand", "export")

    # Nothing is written for the job of another export, for an unknown one, and for a task that is not there.
    for arguments, message in (
        ((*run, jobs["map", "opened_last_30_days"]), "it is the job of export 'mapped-export-"),
        ((*run, "unknown"), "Cordial answered 404"),
        (("plain", "plain-by-hand", "exports", plain), "does not exist"),
        ((*run, plain, "--map-index", "0"), "has no map index 0"),
        (("mapped", "mapped-by-hand", "export", plain), "is mapped: set --map-index"),
        (("plain", "plain-by-hand", "after", plain), "only a task that has failed can adopt a job"),
    ):
        # Below Airflow 3.3 nothing records the name of the export; there the task itself checks it.
        if message.startswith("it is the job") and not airflow.rows("SELECT to_regclass('task_state_store')")[0][0]:
            continue
        done = adopt(*arguments)
        assert (done.returncode in (1, 2), message in done.stderr) == (True, True), (arguments, done)
        assert "Traceback" not in done.stderr
    assert airflow.rows("SELECT conf FROM dag_run WHERE dag_id = 'plain'") == [({},)]

    done = adopt(*run, plain)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cleared"] == ["export", "after"]
    airflow.wait_for({"plain": ["success"], "mapped": ["failed"]}, 120)
    assert tasks("plain") == [("after", -1, "success", 1), ("export", -1, "success", 2)]
    assert result("plain") == plain

    # Each of the mapped tasks has a job of its own, and keeps it.
    for number, audience in enumerate(("opened_last_30_days", "purchased_last_30_days")):
        done = adopt("mapped", "mapped-by-hand", "export", jobs["map", audience], "--map-index", str(number))
        assert done.returncode == 0, done.stderr
    airflow.wait_for({"plain": ["success"], "mapped": ["success"]}, 120)
    assert [row[:3] for row in tasks("mapped")] == [("export", 0, "success"), ("export", 1, "success")]
    assert [result("mapped", number) for number in range(2)] == [
        jobs["map", "opened_last_30_days"],
        jobs["map", "purchased_last_30_days"],
    ]
    # Nothing was exported again.
    assert len(sandbox.control.jobs()) == 3

    # A task that has succeeded needs no job.
    assert "is success" in adopt(*run, plain).stderr
