"""The events that Airflow's OpenLineage provider sends of an export that waits deferred, and of its load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import sftp_connection
from tests.integration.servers.postgres import Postgres

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
def test_audiences_flow_through_the_delivered_file_into_the_table(
    sandbox: SandboxProcess, postgres: Postgres, tmp_path: Path
) -> None:
    database = postgres.with_database("lineage")
    connections = {
        "cordial_default": {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key},
        "sftp_default": sftp_connection(sandbox),
        "warehouse": database.airflow_connection(),
    }
    log = tmp_path / "events"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()},
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "example_dags"),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": "0.2",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(log), "append": True}),
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    command = [sys.executable, str(PROJECT / "scripts" / "run_dag.py"), "example_daily_backfill"]
    done = subprocess.run(
        [*command, "2026-11-12T03:00:00-08:00"], env=environment, capture_output=True, text=True, check=False
    )
    assert "export success, load success" in done.stdout, done.stdout + done.stderr[-5000:]

    text = log.read_text()
    events = [json.loads(line) for line in text.splitlines()]
    export, load = (completed(events, task) for task in ("export", "load"))
    host = sandbox.url.partition("//")[2]
    assert [(one["namespace"], one["name"]) for one in export["inputs"]] == [
        (f"cordial://{host}", "opened_last_30_days"),
        (f"cordial://{host}", "purchased_last_30_days"),
    ]
    (delivered,) = export["outputs"]
    assert delivered["namespace"] == f"sftp://{sandbox.sftp.host}:{sandbox.sftp.port}"
    assert delivered["name"].startswith("exports/example-daily-backfill-export-")
    (read,) = load["inputs"]
    assert (read["namespace"], read["name"]) == (delivered["namespace"], delivered["name"])
    (written,) = load["outputs"]
    assert written["namespace"] == f"postgres://{database.host}:{database.port}"
    assert written["name"] == "lineage.public.daily_trends"
    columns = [field["name"] for field in written["facets"]["schema"]["fields"]]
    assert columns == ["audience", "snapshot_date", "contacts", "job_id", "loaded_at"]
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 2
    for secret in (sandbox.api_key, sandbox.sftp.password, database.password):
        assert secret not in text


def completed(events: list[dict[str, Any]], task: str) -> dict[str, Any]:
    (one,) = [
        event for event in events if event["eventType"] == "COMPLETE" and event["job"]["name"].endswith(f".{task}")
    ]
    return one
