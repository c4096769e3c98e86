"""A whole Airflow in processes of its own: scheduler, DAG processor, triggerer, API server and local executor.

Its metadata are in PostgreSQL: in SQLite one writer at a time holds up all the others, and some give up for good.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from psycopg import sql
from psycopg.errors import UndefinedTable

from tests.integration.servers.postgres import Postgres

START_TIMEOUT = 120.0

_COMPLAINTS = ("[error", "[critical", "Error", "Exception", "exited", "terminat")


class Airflow:
    """``airflow standalone`` with a home and a DAGs folder; a context manager.

    :param metadata: an empty database.
    :param environment: set besides; connections for instance.
    """

    def __init__(self, home: Path, metadata: Postgres, dags: Path, environment: dict[str, str]) -> None:
        self.home = home
        self._metadata = metadata
        api, worker_log, trigger_log = _free_ports(3)
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.url("postgresql+psycopg2"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_log),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(home / "pycache"),
            **environment,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self._start("standalone")
        return self

    def _start(self, component: str) -> None:
        with (self.home / "standalone.log").open("ab") as log:
            process = subprocess.Popen(
                ["airflow", component], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(process)

    def replace(self, component: str) -> None:
        """Kill a component as a crash would, and start another in its place."""
        groups = [process.pid for process in self._processes]
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            pid = int(path.parent.name)
            with suppress(ProcessLookupError, FileNotFoundError):
                if os.getpgid(pid) in groups and component.encode() in path.read_bytes():
                    os.kill(pid, signal.SIGKILL)
        self._start(component)

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            # The group is our own: it was started with a session of its own.
            for how, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
                if not _end(process, how, patience):
                    break

    def wait_until_ready(self, dag_id: str) -> None:
        """Wait until a DAG is known and the API answers."""
        deadline = time.monotonic() + START_TIMEOUT
        while not (self._knows(dag_id) and self._api_answers()):
            assert time.monotonic() < deadline, self.trouble()
            time.sleep(0.5)

    def _knows(self, dag_id: str) -> bool:
        try:
            return bool(self.rows("SELECT 1 FROM serialized_dag WHERE dag_id = %s", dag_id))
        except UndefinedTable:  # the tables are still being made
            return False

    def _api_answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self._environment['AIRFLOW__API__BASE_URL']}/api/v2/version", timeout=10).close()
        except OSError:
            return False
        return True

    def trigger(self, dag_id: str, **conf: str) -> None:
        """Start a run by hand: it has no logical date."""
        self.call(
            "POST", f"/dags/{dag_id}/dagRuns", {"dag_run_id": f"{dag_id}-by-hand", "logical_date": None, "conf": conf}
        )

    def call(self, method: str, path: str, body: Any) -> None:
        """Ask its API for something."""
        request = urllib.request.Request(
            f"{self._environment['AIRFLOW__API__BASE_URL']}/api/v2{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            urllib.request.urlopen(request, timeout=60).close()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None

    def clear(self, dag_id: str) -> None:
        """Clear all tasks of the DAG's runs."""
        body = {"dry_run": False, "only_failed": False, "reset_dag_runs": True}
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 120.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.trouble()}"
            time.sleep(0.1)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the metadata database."""
        with self._metadata.connect() as connection:
            return connection.execute(query, parameters).fetchall()

    def states(self) -> dict[str, list[str]]:
        """Return the states of the runs of each DAG."""
        states: dict[str, list[str]] = {}
        for dag_id, state in self.rows("SELECT dag_id, state FROM dag_run ORDER BY run_after"):
            states.setdefault(dag_id, []).append(state)
        return states

    def wait_for(self, expected: dict[str, list[str]], timeout: float) -> None:
        """Wait until the runs of each DAG have the states expected of them, and there is no other run."""
        deadline = time.monotonic() + timeout
        while True:
            states = self.states()
            if states == expected:
                return
            unexpected = [
                dag_id for dag_id, some in states.items() if "failed" in some and "failed" not in expected[dag_id]
            ]
            assert not unexpected, (states, self.trouble())
            assert time.monotonic() < deadline, (states, self.trouble())
            time.sleep(0.5)

    def trouble(self) -> str:
        """Say where each task is, and what the components complained of."""
        tasks = self.rows("SELECT dag_id, run_id, task_id, state, try_number, trigger_id FROM task_instance")
        log = (self.home / "standalone.log").read_text(errors="replace").splitlines()
        complaints = [line for line in log if any(mark in line for mark in _COMPLAINTS)]
        return "\n".join([*map(str, tasks), *complaints[-60:]])

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield everything that it has written, and where: its logs, and its database as text."""
        for path in sorted(self.home.rglob("*")):
            if path.is_file() and path.suffix in (".log", ".out", ".err", ".json", ".cfg", ".txt"):
                yield str(path), path.read_text(errors="replace")
        for (table,) in self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            with self._metadata.connect() as connection:
                for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))):
                    yield table, "\n".join(map(_text, row))


def _end(process: subprocess.Popen[bytes], how: signal.Signals, patience: float) -> bool:
    """Signal a process's group, and tell whether some of it is left."""
    deadline = time.monotonic() + patience
    try:
        os.killpg(process.pid, how)
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    except ProcessLookupError:
        return False
    return True


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | memoryview) else str(value)


def forms_of(secret: str) -> list[str]:
    """Return a secret as it is, and as it may be written in JSON, in a URL, and in Basic auth."""
    import base64
    import urllib.parse

    basic = base64.b64encode(f"{secret}:".encode()).decode()
    return [secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe=""), basic]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
