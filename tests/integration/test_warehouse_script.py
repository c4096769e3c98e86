"""The contract against an account that a person gives: here the PostgreSQL of the tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.integration.servers.postgres import Postgres

PROJECT = Path(__file__).resolve().parents[2]


def test_the_contract_runs_against_a_given_connection(postgres: Postgres, tmp_path: Path) -> None:
    file = tmp_path / "connection.json"
    server = postgres.with_database("account")
    file.write_text(json.dumps(server.airflow_connection()))
    script = [sys.executable, str(PROJECT / "scripts" / "test_warehouse.py"), str(file), "--table", "public.trends"]
    done = subprocess.run(
        [*script, "-k", "account_keeps or counts_once"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert "another account keeps its rows" in done.stdout
    assert server.password not in done.stdout + done.stderr
    with server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM public.trends").fetchone() == (6,)
