"""Run the commands of docs/command-line.md, and compare what they print with the page: ``command_line.py [--write]``.

The commands are the sections of docs/examples/command_line.sh, their output those of docs/examples/command_line.txt.
They run in this order against a local Cordial and a new SQLite database.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import local_airflow
from snippets import PROJECT, read_snippet

from cordial_sandbox.process import SandboxProcess

COMMANDS = "docs/examples/command_line.sh"
OUTPUT = PROJECT / "docs" / "examples" / "command_line.txt"

#: The sections whose output the page shows.
SHOWN = ("doctor", "jobs", "gaps", "plan", "heatmap")

#: The exit codes that are not 0: gaps finds some.
EXIT_CODES = {"gaps": 1}

#: What differs from call to call, and what the page shows.
_SAMPLES = (
    (r"http://127\.0\.0\.1:\d+", "https://api.cordial.io"),
    (r"sftp://127\.0\.0\.1:\d+", "sftp://sftp.example.com:22"),
    (r"today is [\d-]+, and the last day is [\d-]+", "today is 2026-11-13, and the last day is 2026-11-12"),
    (r"Airflow \d\S+", "Airflow 3.3.2"),
    (r"\b[0-9a-f]{24}\b", "6565f0a1b2c3d4e5f6a7b8c9"),
    (r"-[0-9a-f]{12}\b", "-1f0c9a7b2d3e"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2026-11-12 09:00:00 UTC"),
)


def run_all(folder: Path) -> dict[str, str]:
    """Return what each section prints on stdout, without what differs from call to call."""
    names = re.findall(r"\[START ([\w-]+)\]", (PROJECT / COMMANDS).read_text())
    with SandboxProcess(folder / "sandbox", job_seconds=0.5) as sandbox:
        variables = local_airflow.environment(folder, dags=folder / "dags", cache=folder / "bytecode")
        for name, fields in local_airflow.connections(sandbox, folder / "warehouse.db").items():
            variables[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(fields)
        variables |= {"AIRFLOW__CORDIAL__POLL_INTERVAL": "0.2", "COLUMNS": "100"}
        subprocess.run(["airflow", "db", "migrate"], env=variables, check=True, capture_output=True)
        (folder / "audiences.txt").write_text("opened_last_30_days\nnew_subscribers\n")
        printed = {}
        for name in names:
            printed[name] = _run(name, variables, folder)
            if name == "export":
                variables["JOB_ID"] = json.loads((folder / "export.json").read_text())["job_id"]
        return printed


def _run(name: str, variables: dict[str, str], folder: Path) -> str:
    _, code = read_snippet(PROJECT, f"{COMMANDS}#{name}")
    done = subprocess.run(
        ["bash", "-uc", code], env=variables, cwd=folder, capture_output=True, text=True, check=False, timeout=280
    )
    if done.returncode != EXIT_CODES.get(name, 0):
        sys.exit(f"{name} has exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    text = done.stdout
    for pattern, sample in _SAMPLES:
        text = re.sub(pattern, sample, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def main(*, write: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="command-line-") as folder:
        printed = run_all(Path(folder))
    text = "".join(f"# [START {name}]\n{output}# [END {name}]\n" for name, output in printed.items() if name in SHOWN)
    if write:
        OUTPUT.write_text(text, encoding="utf-8")
    elif text != OUTPUT.read_text(encoding="utf-8"):
        print(text)
        print(
            f"{OUTPUT.relative_to(PROJECT)} differs from what the commands print: run scripts/command_line.py --write"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(write="--write" in sys.argv[1:]))
