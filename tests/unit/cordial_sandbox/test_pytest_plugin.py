"""The fixtures for tests of DAGs."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.fates import Fate
from cordial_sandbox.faults import Fault
from cordial_sandbox.testing import CordialAccount, Sizes
from tests.helpers.sandbox import export_body

PROJECT = Path(__file__).resolve().parents[3]

#: Run one after the other, in an environment without Airflow's variables.
SUITE = """
import json, os, signal, sys, time
import pytest

VARIABLES = {"AIRFLOW_CONN_CORDIAL_DEFAULT", "AIRFLOW_CONN_SFTP_DEFAULT", "AIRFLOW__CORDIAL__POLL_INTERVAL"}

def test_nothing_runs_without_a_fixture(tmp_path_factory):
    assert not VARIABLES & set(os.environ)
    assert not [*tmp_path_factory.getbasetemp().glob("cordial-sandbox*")]

def test_the_connections_are_set(cordial_account, cordial_sandbox):
    assert cordial_account.sandbox is cordial_sandbox
    connection = json.loads(os.environ["AIRFLOW_CONN_CORDIAL_DEFAULT"])
    assert f"{connection['host']}:{connection['port']}" == cordial_account.url
    assert connection["password"] == cordial_account.api_key
    assert json.loads(os.environ["AIRFLOW_CONN_SFTP_DEFAULT"])["port"] == cordial_sandbox.sftp.port
    assert set(cordial_account.environment) < VARIABLES <= set(os.environ)

def test_the_connections_are_removed():
    assert not VARIABLES & set(os.environ)

def test_an_undo_keeps_the_connections(cordial_account, monkeypatch):
    monkeypatch.undo()
    assert VARIABLES <= set(os.environ)

def test_a_poll_interval_is_kept(monkeypatch, request):
    monkeypatch.setenv("AIRFLOW__CORDIAL__POLL_INTERVAL", "7")
    request.getfixturevalue("cordial_account")
    assert os.environ["AIRFLOW__CORDIAL__POLL_INTERVAL"] == "7"

@pytest.mark.parametrize("how", ["kill", "stop", "signal"])
def test_a_test_ends_the_sandbox(cordial_account, how):
    cordial_account.audiences({"gold": 1})
    sandbox = cordial_account.sandbox
    if how == "signal":
        os.kill(json.loads((sandbox.data / "sandbox.json").read_text())["pid"], signal.SIGKILL)
    else:
        getattr(sandbox, how)()

def test_the_next_test_has_a_sandbox(cordial_account):
    assert cordial_account.jobs() == cordial_account.requests() == []
    with pytest.raises(ValueError, match="Unknown audience"):
        cordial_account.snapshots("gold", "2026-11-10", "2026-11-10")

def test_airflow_was_not_imported(cordial_account):
    assert not [name for name in sys.modules if name.partition(".")[0] == "airflow"]
"""

PARALLEL = """
import json, os, time
import pytest

@pytest.mark.parametrize("number", range(6))
def test_it_has_the_sandbox_of_its_worker(cordial_account, number):
    cordial_account.audiences({os.environ["PYTEST_XDIST_WORKER"]: number})
    time.sleep(0.1)
    with open("seen.txt", "a") as file:
        file.write(f"{os.environ['PYTEST_XDIST_WORKER']} {cordial_account.url}\\n")
    assert list(cordial_account.snapshots(os.environ["PYTEST_XDIST_WORKER"], *["2026-01-01"] * 2).values()) == [number]
"""


def run_suite(folder: Path, suite: str, *options: str) -> str:
    """Run pytest on a suite, and return its last line."""
    (folder / "test_suite.py").write_text(suite)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "PYTEST_"))}
    variables |= {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options]
    ended = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()[-1]


def test_fixtures_start_reset_and_restart_the_sandbox(tmp_path: Path) -> None:
    assert run_suite(tmp_path, SUITE, f"--basetemp={tmp_path / 'base'}").startswith("10 passed")


def test_each_worker_of_xdist_has_a_sandbox(tmp_path: Path) -> None:
    assert run_suite(tmp_path, PARALLEL, "--numprocesses=2").startswith("6 passed")
    seen = {tuple(line.split()) for line in (tmp_path / "seen.txt").read_text().splitlines()}
    assert sorted(worker for worker, _ in seen) == ["gw0", "gw1"]
    assert len({url for _, url in seen}) == 2


def export(account: CordialAccount, **changes: Any) -> dict[str, Any]:
    """Export to the Jobs page, and return the job once it has ended."""
    url = f"{account.url}/v2/audiencetrendsexport"
    response = requests.post(url, json=export_body(**changes), auth=(account.api_key, ""), timeout=10)
    response.raise_for_status()
    deadline = time.monotonic() + 20
    while not (job := next(job for job in account.jobs() if job["id"] == response.json()["jobId"]))["ended_at"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job


def read(account: CordialAccount, job: Mapping[str, Any]) -> list[str]:
    path: Path = account.sandbox.data / job["delivered_to"]
    return path.read_text().splitlines()


def test_audiences_have_sizes_by_day_or_one_size_or_no_analytics(cordial_account: CordialAccount) -> None:
    cordial_account.audiences({"vip": {"2026-11-10": 5, "2026-11-11": 7}, "churned": 3, "staff": None})
    lines = read(cordial_account, export(cordial_account, audiences=["vip", "churned"]))
    assert lines == ["audience,2026-11-10,2026-11-11", "vip,5,7", "churned,3,3"]
    assert cordial_account.snapshots("vip", "2026-11-11", date(2026, 11, 12)) == {"2026-11-11": 7, "2026-11-12": None}
    with pytest.raises(requests.HTTPError, match="406"):
        export(cordial_account, audiences=["staff"])
    assert [request["status"] for request in cordial_account.requests()] == [200, 406]
    cordial_account.audiences({"vip": {date(2026, 11, 10): 5}})
    assert cordial_account.snapshots("vip", "2026-11-10", "2026-11-11") == {"2026-11-10": 5, "2026-11-11": None}
    invalid_sizes: list[Mapping[str, Sizes]] = [{"vip": -1}, {"": 1}, {"vip": {"soon": 1}}]
    for invalid in invalid_sizes:
        with pytest.raises(ValueError, match="status 422"):
            cordial_account.audiences(invalid)


def test_the_clock_and_the_time_zone_decide_which_days_are_over(cordial_account: CordialAccount) -> None:
    cordial_account.audiences({"vip": 5})
    cordial_account.timezone("America/New_York")
    noon = datetime(2026, 11, 11, 12, tzinfo=UTC)
    assert cordial_account.clock(now=noon, stopped=True) == noon
    assert list(cordial_account.snapshots("vip", "2026-11-10", "2026-11-11").values()) == [5, None]
    assert cordial_account.clock(move=timedelta(hours=16)) == datetime(2026, 11, 12, 4, tzinfo=UTC)
    assert list(cordial_account.snapshots("vip", "2026-11-10", "2026-11-11").values()) == [5, None]
    assert cordial_account.clock(move=3600) == datetime(2026, 11, 12, 5, tzinfo=UTC)
    assert list(cordial_account.snapshots("vip", "2026-11-10", "2026-11-11").values()) == [5, 5]
    assert cordial_account.clock(now="2026-11-11T12:00:00") == noon


def test_requests_and_jobs_fail_on_demand(cordial_account: CordialAccount) -> None:
    cordial_account.fault("create_export", "answer", times=1, status=503, headers={"Retry-After": "1"}, body="busy")
    with pytest.raises(requests.HTTPError, match="503") as caught:
        export(cordial_account)
    assert (caught.value.response.text, caught.value.response.headers["Retry-After"]) == ("busy", "1")
    cordial_account.fate(nth=2, fails_with="Disk full")
    cordial_account.fate(name="trends-*", missing_days=[date(2026, 11, 10), "2026-11-11"])
    assert read(cordial_account, export(cordial_account))[1] == "opened_last_30_days,,"
    assert export(cordial_account)["reason"] == "Disk full"
    assert cordial_account.behaviour(csv_audience_column="name")["csv_audience_column"] == "name"
    assert read(cordial_account, export(cordial_account))[0].startswith("name,")


@pytest.mark.parametrize(("method", "model"), [(CordialAccount.fault, Fault), (CordialAccount.fate, Fate)])
def test_methods_have_the_options_of_the_control_api(method: Any, model: Any) -> None:
    parameters = {name: one.default for name, one in inspect.signature(method).parameters.items() if name != "self"}
    assert parameters.keys() == model.model_fields.keys()
    for name, default in parameters.items():
        field = model.model_fields[name]
        expected = field.get_default(call_default_factory=True)
        if default is not inspect.Parameter.empty:
            assert (default or None) == (expected or None), name


def test_every_public_method_has_a_docstring() -> None:
    for name, each in vars(CordialAccount).items():
        if inspect.isfunction(each) and not name.startswith("_"):
            assert inspect.getdoc(each), name


def test_the_environment_is_that_of_the_file_of_connections(cordial_account: CordialAccount) -> None:
    content = json.loads((cordial_account.sandbox.data / "airflow-connections.json").read_text())
    assert {name: json.loads(value) for name, value in cordial_account.environment.items()} == {
        f"AIRFLOW_CONN_{name.upper()}": fields for name, fields in content.items()
    }


def test_the_documented_calls_of_an_account_are_accepted(cordial_account: CordialAccount) -> None:
    page = (PROJECT / "docs" / "testing.md").read_text(encoding="utf-8")
    table = page.partition("| call of `cordial_account` |")[2].partition("\n\n")[0]
    calls = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    assert len(calls) > 15
    for call in calls:
        eval(f"account.{call}", {"account": cordial_account})
    public = {name for name in vars(CordialAccount) if not name.startswith("_")}
    assert public - {call.partition("(")[0] for call in calls} == {"api_key", "environment", "url"}
