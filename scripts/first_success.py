"""First success: run the commands of the five-minute start in a clean environment, and print the seconds of each.

The wheel is built from this folder; its requirements come from the package index. ``--keep FOLDER`` keeps the folder.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from local_airflow import PROJECT, end_session

COMMANDS = PROJECT / "docs" / "examples" / "start.sh"
DAG = PROJECT / "docs" / "examples" / "cordial_trends.py"
#: What fits a five-minute start.
MOST_COMMANDS = 8

_END = "@@ended"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which is kept")
    options = parser.parse_args()
    commands = read_commands(COMMANDS.read_text(encoding="utf-8"))
    if len(commands) > MOST_COMMANDS:
        sys.exit(f"{COMMANDS.name} has {len(commands)} commands: expected {MOST_COMMANDS} at most.")
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cordial-start-")))
        folder.mkdir(parents=True, exist_ok=True)
        environment = prepare(folder.resolve())
        printed = ""
        total = 0.0
        print(f"{'seconds':>8}  command", flush=True)
        for command, seconds, output in run(commands, folder, environment):
            printed = output
            total += seconds
            print(f"{seconds:8.1f}  {command}", flush=True)
    rows = [line for line in printed.splitlines() if re.match(r"\('\w+', '\d{4}-\d\d-\d\d', \d+", line)]
    print(f"{total:8.1f}  from pip install to {len(rows)} rows in a table, in {len(commands)} commands")
    print("\n".join(rows))
    return 0 if rows else 1


def read_commands(script: str) -> list[str]:
    """Return the commands of a script, without comments."""
    joined = script.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def prepare(folder: Path) -> dict[str, str]:
    """Build the wheels, create an empty environment, and save the DAG, as a reader of the page does."""
    wheels = folder / "wheels"
    for source in (PROJECT, PROJECT / "cordial_sandbox"):
        if (source / "pyproject.toml").exists():
            build = ["uv", "build", "--system-certs", "--quiet", "--wheel", "--out-dir", str(wheels), str(source)]
            subprocess.run([str(Path(sys.executable).parent / build[0]), *build[1:]], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    (folder / DAG.name).write_bytes(DAG.read_bytes())
    hidden = ("AIRFLOW_", "PYTHON", "VIRTUAL_ENV")
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(hidden)},
        "AIRFLOW_HOME": str(folder / "airflow"),
        # The examples of Airflow itself are not part of the page.
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "HOME": str(folder),
        "PATH": f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_FIND_LINKS": str(wheels),
    }


def run(commands: list[str], folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, float, str]]:
    """Run the commands in one shell, and yield each with its seconds and its output.

    The shell is a session of its own: what it leaves in the background ends with it.
    """
    log = folder / "start.log"
    with log.open("w") as errors:
        shell = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        assert shell.stdin
        assert shell.stdout
        try:
            for command in commands:
                started = time.monotonic()
                shell.stdin.write(f"{command}\necho {_END} $?\n")
                lines: list[str] = []
                for line in shell.stdout:
                    if line.startswith(_END):
                        break
                    lines.append(line)
                if line.split() != [_END, "0"]:
                    sys.exit(f"This command failed: {command}\n{''.join(lines)[-3000:]}\n{log.read_text()[-3000:]}")
                yield command, time.monotonic() - started, "".join(lines)
        finally:
            shell.stdin.close()
            end_session(shell)


if __name__ == "__main__":
    sys.exit(main())
