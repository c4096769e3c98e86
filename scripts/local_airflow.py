"""An Airflow on this machine beside a local Cordial: what the demo, the playground, and the tests of the docs share."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped,unused-ignore]

from cordial_sandbox.process import SandboxProcess

PROJECT = Path(__file__).resolve().parent.parent
EXAMPLES = PROJECT / "example_dags"

END_TIMEOUT = 8.0


def connections(sandbox: SandboxProcess, warehouse: Path) -> dict[str, dict[str, Any]]:
    """Return the three connections of the example DAGs: Cordial, its SFTP server, and a SQLite database."""
    content: dict[str, dict[str, Any]] = json.loads((sandbox.data / "airflow-connections.json").read_text())
    return {**content, "warehouse": {"conn_type": "sqlite", "host": str(warehouse)}}


def environment(home: Path, *, dags: Path, cache: Path, **settings: str) -> dict[str, str]:
    """Return the environment of an Airflow with its defaults.

    :param home: its folder.
    :param cache: where the byte code goes, which halves the time of everything.
    :param settings: more options, ``CORE__PARALLELISM`` for instance.
    """
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        # Also if the environment disables byte code.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(cache),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def as_variables(connections: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return connections as environment variables."""
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()}


def server_settings() -> dict[str, str]:
    """Return the options of a whole Airflow with its UI on free ports of loopback, for whoever opens it."""
    api, worker_log, trigger_log = free_ports(3)
    url = f"http://127.0.0.1:{api}"
    return {
        "API__HOST": "127.0.0.1",
        "API__PORT": str(api),
        "API__BASE_URL": url,
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__PARALLELISM": "4",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "LOGGING__WORKER_LOG_SERVER_PORT": str(worker_log),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log),
    }


@contextmanager
def running(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own, and end all processes of the session afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        end_session(process)


def end_session(leader: subprocess.Popen[Any]) -> None:
    """End the leader, which ends the others, and kill what is left."""
    deadline = time.monotonic() + END_TIMEOUT
    for how in (signal.SIGTERM, signal.SIGKILL):
        for process in _session(leader.pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(how)
        while _session(leader.pid) and (how == signal.SIGTERM) and time.monotonic() < deadline:
            time.sleep(0.1)
    leader.wait()


def _session(leader: int) -> list[psutil.Process]:
    """Return the processes of a session: Airflow starts each task in a process group of its own."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
