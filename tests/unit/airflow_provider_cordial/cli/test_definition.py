"""The commands as Airflow finds and starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from airflow.cli.cli_config import ActionCommand
from airflow.providers_manager import ProvidersManager

from airflow_provider_cordial.cli.__main__ import main
from airflow_provider_cordial.cli.definition import COMMANDS, get_commands
from cordial_sandbox.process import SandboxProcess
from tests.helpers.cli import Cordial


def paths(commands: Any = COMMANDS, *before: str) -> Iterator[tuple[tuple[str, ...], ActionCommand]]:
    for command in commands:
        path = (*before, command.name)
        if isinstance(command, ActionCommand):
            yield path, command
        else:
            yield from paths(command.subcommands, *path)


ALL = dict(paths())


def test_airflow_finds_the_commands() -> None:
    assert get_commands in ProvidersManager().cli_command_functions  # type: ignore[no-untyped-call]
    assert {" ".join(path) for path in ALL} == {
        "adopt",
        "doctor",
        "export",
        "fill",
        "gaps",
        "heatmap",
        "jobs list",
        "jobs show",
        "jobs wait",
        "plan",
    }


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_a_help_and_a_function(path: tuple[str, ...], airflow_cordial: Cordial) -> None:
    done = airflow_cordial(*path, "--help")
    assert done.code == 0
    assert (ALL[path].description or ALL[path].help).split(".")[0].split()[0] in done.out
    assert all(option.kwargs.get("help") for option in ALL[path].args)
    # Airflow imports the function when the command runs.
    loaded = next(cell.cell_contents for cell in ALL[path].func.__closure__ or ())
    assert callable(resolve_name(loaded))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "--start", "x", "--end", "2026-11-10"], "invalid day 'x': expected a date such as 2026-01-31"),
        (["jobs", "list", "--limit", "0"], "invalid number '0': expected a whole number above 0"),
        (["jobs", "wait", "j", "--timeout", "-1"], "invalid duration '-1': expected seconds above 0"),
        (["gaps", "--conn-id", "w", "--first-day", "3", "--scope", "x"], "invalid pair 'x': expected NAME=VALUE"),
        (["gaps", "--conn-id", "w"], "--first-day"),
        (["adopt", "dag", "run"], "task_id, job_id"),
        (["unknown"], "invalid choice: 'unknown'"),
    ],
)
def test_invalid_options_are_rejected(arguments: list[str], message: str, airflow_cordial: Cordial) -> None:
    done = airflow_cordial(*arguments)
    assert (done.code, message in done.err) == (2, True), done


def run_airflow(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    # The code of this folder, also where another one is installed.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])}
    command = [str(Path(sys.executable).parent / "airflow"), *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, env=environment, text=True, check=False, **streams)


def test_airflow_starts_the_command(cordial: SandboxProcess) -> None:
    destination = ["--destination", "sftp", "conn_id=sftp_default", "path=exports"]
    done = run_airflow(["cordial", "doctor", *destination, "--output", "json"])
    assert done.returncode == 0, done.stderr
    # Whatever hooks and drivers log goes to stderr.
    states = {check["name"]: check["state"] for check in json.loads(done.stdout)}
    assert states["API key"] == states["list of jobs"] == states["destination for Airflow"] == "ok"
    assert cordial.api_key not in done.stdout + done.stderr
    assert cordial.sftp.password not in done.stdout + done.stderr


def test_the_reader_of_the_output_may_end_first(cordial: SandboxProcess) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_airflow(["cordial", "jobs", "list"], stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr


def test_python_starts_the_same_commands(cordial: SandboxProcess, capsys: pytest.CaptureFixture[str]) -> None:
    main(["jobs", "list", "--output", "json"])
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(SystemExit, match="2"):
        main(["jobs"])
    assert "adopt" not in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "adopt" in capsys.readouterr().out


def test_the_definitions_import_nothing() -> None:
    code = (
        "import sys; import airflow.cli.cli_config; before = set(sys.modules); "
        "import airflow_provider_cordial.cli.definition as d; d.get_commands(); print(*(set(sys.modules) - before))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(printed.splitlines()[-1].split()) <= {
        "airflow_provider_cordial",
        "airflow_provider_cordial.cli",
        "airflow_provider_cordial.cli.definition",
    }
