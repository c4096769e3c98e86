"""The playground: a whole Airflow with its UI, a local Cordial, the connections, and the example DAGs.

It prints one address, and runs until Ctrl-C. ``--home FOLDER`` keeps its state; by default it is in a new folder that
is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from local_airflow import EXAMPLES, PROJECT, connections, environment, running, server_settings

from cordial_sandbox.process import SandboxProcess

CACHE = PROJECT / ".demo" / "pycache"
START_TIMEOUT = 300.0

#: DAGs that need nothing but the local Cordial. The others stay paused: they need cloud storage.
READY = (
    "example_audience_trends",
    "example_daily_backfill",
    "example_export_only",
    "example_keep_whole",
    "example_load_only",
    "example_look_back",
    "example_partitions_consumer",
    "example_partitions_producer",
    "example_range_backfill",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="folder of the state; kept at the end")
    parser.add_argument("--job-seconds", type=float, default=15.0, help="how long a job takes in the local Cordial")
    options = parser.parse_args()
    # A service manager stops it as Ctrl-C does, and so does a script, whose background jobs ignore Ctrl-C by default.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.default_int_handler)
    started = time.monotonic()
    with ExitStack() as stack:
        home = options.home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cordial-playground-")))
        try:
            _run(stack, home.resolve(), options.job_seconds, started)
        except KeyboardInterrupt:
            report("Stopping ...")
    report("Stopped")
    return 0


def _run(stack: ExitStack, home: Path, job_seconds: float, started: float) -> None:
    dags = home / "dags"
    shutil.copytree(EXAMPLES, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    CACHE.mkdir(parents=True, exist_ok=True)
    sandbox = stack.enter_context(SandboxProcess(home / "sandbox", job_seconds=job_seconds))
    settings = {
        **server_settings(),
        # The examples run once, and the button Test of the connection form works.
        "CORE__TEST_CONNECTION": "Enabled",
        "CORDIAL__POLL_INTERVAL": "5",
    }
    variables = environment(home / "airflow", dags=dags, cache=CACHE, **settings)
    log = home / "airflow.log"
    report("Airflow creates its database ...")
    airflow(variables, log, "db", "migrate")
    file = home / "connections.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(connections(sandbox, home / "warehouse.db")))
    airflow(variables, log, "connections", "import", "--overwrite", str(file))
    report("Airflow starts ...")
    process = stack.enter_context(running([sys.executable, "-m", "airflow", "standalone"], variables, log))
    url = settings["API__BASE_URL"]
    for dag_id in READY:
        unpause(url, dag_id, process, log)
    report(f"Ready after {time.monotonic() - started:.0f} s. Logs and state: {home}")
    (home / "url.txt").write_text(url)
    print(f"\n    {url}\n\nCtrl-C stops it. The local Cordial's jobs: {sandbox.url}/jobs\n", flush=True)
    process.wait()
    sys.exit(f"Airflow has ended; see {log}")


def airflow(variables: dict[str, str], log: Path, *arguments: str) -> None:
    """Run a command of Airflow."""
    with log.open("ab") as output:
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=variables, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        sys.exit(f"airflow {arguments[0]} failed; see {log}")


def unpause(url: str, dag_id: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Unpause a DAG as soon as Airflow has read it."""
    deadline = time.monotonic() + START_TIMEOUT
    while not _patch(f"{url}/api/v2/dags/{dag_id}", {"is_paused": False}):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"Airflow did not start, or did not read {dag_id}; see {log}")
        time.sleep(0.5)


def _patch(url: str, body: dict[str, Any]) -> bool:
    request = urllib.request.Request(
        url, method="PATCH", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return False
    except OSError:
        return False
    return True


def report(text: str) -> None:
    print(f"playground: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
