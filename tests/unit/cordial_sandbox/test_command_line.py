"""The commands, against a running sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cordial_sandbox.accounts import BUILT_IN_AUDIENCES, read_seed
from cordial_sandbox.cli import app
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import sftp_destination, submit, wait_until_settled

Run = Callable[..., str]

EMPTY: dict[str, Any] = {"change": {}, "behaviour": {}, "faults": [], "fates": [], "jobs": []}
JOB: dict[str, Any] = {
    "id": "0" * 24,
    "status": "Done",
    "kind": "audiencetrendsexport",
    "name": "imported-1",
    "request": {},
    "destination": {"type": "aws"},
    "fate": {},
    "seconds": None,
    "created_at": 1.0,
    "started_at": 1.0,
    "ended_at": 1.0,
    "reason": None,
    "delivered_to": "downloads/x/y.csv",
}

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(cordial_sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command that succeeds, and return what it prints."""
    monkeypatch.setenv("CORDIAL_SANDBOX_DATA", str(cordial_sandbox.data))

    def run_one(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run_one


def refuse(*arguments: str) -> str:
    """Run a command that fails, and return its message."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    assert not result.stdout
    return result.stderr.strip()


def test_every_command_explains_itself() -> None:
    commands = ["serve", "seed", "demo", "faults", "jobs", "reset", "export-state", "import-state"]
    listed = CliRunner().invoke(app, ["--help"]).output
    for command in commands:
        assert command in listed
        assert "--help" in CliRunner().invoke(app, [command, "--help"]).output


def test_jobs_are_listed_and_shown(cordial_sandbox: SandboxProcess, run: Run) -> None:
    assert run("jobs") == "No jobs.\n"
    job_id = submit(cordial_sandbox, name="listed-1", destination=sftp_destination(cordial_sandbox))
    wait_until_settled(cordial_sandbox, job_id)
    header, line = run("jobs").splitlines()
    assert header.split() == ["id", "status", "kind", "name", "delivered_to", "reason"]
    assert line.split() == [job_id, "Done", "audiencetrendsexport", "listed-1", "exports/listed-1.csv", "-"]
    assert run("jobs", "--status", "Failed") == "No jobs.\n"
    assert [job["id"] for job in json.loads(run("jobs", "--json"))] == [job_id]
    assert json.loads(run("jobs", job_id))["destination"]["password"] == "***"


def test_faults_are_added_listed_and_cleared(cordial_sandbox: SandboxProcess, run: Run) -> None:
    assert run("faults", "list") == "No faults.\n"
    added = run("faults", "add", "get_job", "answer", "--status", "503", "--times", "2", "--header", "Retry-After: 1")
    assert added.splitlines()[1].split()[:3] == ["get_job", "answer", "503"]
    (fault,) = cordial_sandbox.control.faults()
    assert (fault["headers"], fault["times"]) == ({"Retry-After": "1"}, 2)
    assert json.loads(run("faults", "list", "--json")) == [fault]
    assert run("faults", "clear") == "No faults.\n"
    assert "effect" in refuse("faults", "add", "get_job", "explode")


def test_reset_deletes_the_jobs(cordial_sandbox: SandboxProcess, run: Run) -> None:
    submit(cordial_sandbox)
    assert run("reset") == "Reset the sandbox.\n"
    assert cordial_sandbox.control.jobs() == []
    assert json.loads(run("reset", "--account", "default", "--json")) == {"reset": "default"}


def test_the_commands_of_the_documentation_run(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path / "cordial", job_seconds=0.1) as sandbox:
        job_id = submit(sandbox)
        wait_until_settled(sandbox, job_id)
        bin_folder = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        environment.pop("CORDIAL_SANDBOX_DATA", None)
        script = ROOT / "docs" / "examples" / "local_cordial.sh"
        done = subprocess.run(
            ["bash", "-e", str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert job_id in done.stdout
        assert [job["id"] for job in sandbox.control.jobs()] == [job_id]
        assert [fault["times"] for fault in sandbox.control.faults()] == [2]
        assert len(json.loads((tmp_path / "accounts.json").read_text())["accounts"][0]["audiences"]) == 200


def test_a_sandbox_that_is_not_there_is_an_error(tmp_path: Path, cordial_sandbox: SandboxProcess) -> None:
    message = refuse("jobs", "--data", str(tmp_path))
    assert message.splitlines()[0].startswith(f"{tmp_path} has no sandbox: start it with cordial-sandbox serve")
    address = json.loads((cordial_sandbox.data / "sandbox.json").read_text())
    (tmp_path / "sandbox.json").write_text(json.dumps({**address, "url": "http://127.0.0.1:9"}))
    assert refuse("jobs", "--data", str(tmp_path)).startswith(f"The sandbox of {tmp_path} is not running")
    assert "Unknown account" in refuse("jobs", "--data", str(cordial_sandbox.data), "--account", "nobody")


# State.


def test_an_exported_state_starts_another_sandbox(cordial_sandbox: SandboxProcess, run: Run, tmp_path: Path) -> None:
    control = cordial_sandbox.control
    control.behaviour(csv_bom=True)
    control.fault("list_jobs", "answer", status=503, times=2)
    control.fate(nth=4, fails_with="Login failed.")
    control.clock(now="2026-11-12T10:00:00", stopped=True)
    secret = sftp_destination(cordial_sandbox)["password"]
    delivered = submit(cordial_sandbox, name="kept-1", destination=sftp_destination(cordial_sandbox))
    downloaded = submit(cordial_sandbox, name="kept-2")
    for job_id in (delivered, downloaded):
        wait_until_settled(cordial_sandbox, job_id)
    control.fate(name="held-*", stays_in="Processing")
    held = submit(cordial_sandbox, name="held-1", destination=sftp_destination(cordial_sandbox))
    while control.job(held)["status"] != "Processing":
        time.sleep(0.02)
    file = tmp_path / "state.json"
    run("export-state", str(file))
    assert secret not in file.read_text()
    assert json.loads(run("export-state")) == json.loads(file.read_text())

    with SandboxProcess(tmp_path / "other", job_seconds=0.1) as other:
        submit(other, name="replaced-1")
        result = CliRunner().invoke(app, ["import-state", str(file), "--data", str(other.data)])
        assert (result.exit_code, result.stdout) == (0, "Imported 3 jobs.\n")
        assert other.control.behaviour() == control.behaviour()
        assert [fault["times"] for fault in other.control.faults()] == [2]
        assert other.control.fates() == control.fates()
        assert other.control.clock() == control.clock()
        assert [job["id"] for job in other.control.jobs()] == [held, downloaded, delivered]
        for job_id in (delivered, downloaded):
            assert other.control.job(job_id) == control.job(job_id)
        # It cannot log in without its password.
        assert (other.control.job(held)["status"], other.control.job(held)["reason"]) == (
            "Failed",
            "The secrets of its destination were not exported.",
        )
        name = control.job(downloaded)["delivered_to"]
        assert (other.data / name).read_bytes() == (cordial_sandbox.data / name).read_bytes()
        assert (other.sftp.root / "exports" / "kept-1.csv").exists()
        # The fate of the fourth export counts those before.
        assert [fate["seen"] for fate in other.control.fates()] == [3, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version"),
        (
            {"accounts": {"nobody": EMPTY}},
            "Unknown account 'nobody'",
        ),
        ({"files": {"../outside": ""}}, "expected a path in downloads or sftp"),
        ({"files": {"/etc/passwd": ""}}, "expected a path in downloads or sftp"),
        ({"files": {"sandbox.sqlite": ""}}, "expected a path in downloads or sftp"),
        ({"files": {"sftp/../sandbox.sqlite": ""}}, "expected a path in downloads or sftp"),
        ({"clock": {"offset": None, "stopped_at": None}}, "clock"),
        ({"clock": {"offset": 1e18, "stopped_at": None}}, "expected one in the years 1970 to 9998"),
        ({"clock": {"offset": 0, "stopped_at": -1}}, "expected one in the years 1970 to 9998"),
        ({"accounts": {"default": {**EMPTY, "faults": [{"effect": "explode", "hits": 0}]}}}, "effect"),
        ({"accounts": {"default": {**EMPTY, "fates": [{"seen": 0, "nth": 1}]}}}, "expected fails_with"),
        ({"accounts": {"default": {**EMPTY, "jobs": [JOB, JOB]}}}, "two jobs have the same id"),
        ({"accounts": {"default": {**EMPTY, "jobs": [{**JOB, "ended_at": 1e18}]}}}, "ended_at"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_state_changes_nothing(
    cordial_sandbox: SandboxProcess, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    submit(cordial_sandbox)
    state = {**cordial_sandbox.control.export_state(), **change}
    (tmp_path / "state.json").write_text(json.dumps(state))
    error = refuse("import-state", str(tmp_path / "state.json"), "--data", str(cordial_sandbox.data))
    assert message in error
    assert len(cordial_sandbox.control.jobs()) == 1
    assert refuse("import-state", str(tmp_path / "missing.json")).startswith("Cannot read ")


def test_too_many_jobs_are_neither_listed_nor_exported(cordial_sandbox: SandboxProcess, run: Run) -> None:
    ids = cordial_sandbox.control.add_jobs(20_001, shortest=600, longest=600)
    listed = [job["id"] for job in cordial_sandbox.control.jobs()]
    assert listed == ids[:0:-1]
    assert [job["id"] for job in json.loads(run("jobs", "--limit", "2", "--json"))] == listed[:2]
    assert "has more than 20000 jobs" in refuse("export-state", "--data", str(cordial_sandbox.data))


# Seed.


def test_the_printed_seed_is_the_built_in_account(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["seed"])
    (tmp_path / "seed.yaml").write_text(result.stdout, encoding="utf-8")
    (account,) = read_seed(tmp_path / "seed.yaml")
    assert account.audiences == BUILT_IN_AUDIENCES
    checked = CliRunner().invoke(app, ["seed", "--check", str(tmp_path / "seed.yaml"), "--json"])
    assert json.loads(checked.stdout) == yaml.safe_load(result.stdout)


def test_a_generated_seed_has_its_audiences(tmp_path: Path) -> None:
    arguments = ["seed", "--audiences", "200", "--since", "2024-01-01", "--account", "big", "--timezone", "UTC"]
    (tmp_path / "seed.yaml").write_text(CliRunner().invoke(app, arguments).stdout, encoding="utf-8")
    (account,) = read_seed(tmp_path / "seed.yaml")
    assert (account.name, account.timezone, len(account.audiences)) == ("big", "UTC", 200)
    assert {str(audience.since) for audience in account.audiences} == {"2024-01-01"}
    assert "unknown time zone 'Mars'" in refuse("seed", "--timezone", "Mars")
    (tmp_path / "bad.yaml").write_text("accounts: []")
    assert refuse("seed", "--check", str(tmp_path / "bad.yaml")).startswith("Invalid seed file ")


def test_a_seed_of_audiences_as_csv_is_served(tmp_path: Path) -> None:
    seed = tmp_path / "audiences.csv"
    seed.write_text('name,analytics,since,seed,complete\nvip,,2026-11-01,7,true\n"Käufer, ""Gold""",false,,,\n')
    (account,) = read_seed(seed, "key-of-the-csv")
    vip, gold = account.audiences
    assert (vip.analytics, str(vip.since), vip.seed, vip.complete) == (True, "2026-11-01", 7, True)
    assert (gold.name, gold.analytics) == ('Käufer, "Gold"', False)
    with SandboxProcess(tmp_path / "data", seed=seed, api_key="key-of-the-csv", job_seconds=0.1) as sandbox:
        wait_until_settled(sandbox, submit(sandbox, audiences=["vip"]))
    seed.write_text("name,size\nvip,7\n")
    assert "accounts.0.audiences.0.size: Extra inputs are not permitted" in refuse("seed", "--check", str(seed))


def test_the_demo_shows_what_happens(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    command = [sys.executable, "-m", "cordial_sandbox", "demo", "--data", str(data), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())
        deadline = time.monotonic() + 40
        found: list[str] = []
        while sorted(set(found)) != ["Done", "Failed", "Processing"] or len(found) < 10:
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
            listed = CliRunner().invoke(app, ["jobs", "--data", str(data), "--json"])
            found = [job["status"] for job in json.loads(listed.stdout or "[]")]
        assert address["url"].startswith("http://127.0.0.1:")
    finally:
        process.terminate()
        assert process.wait(10) == 0
