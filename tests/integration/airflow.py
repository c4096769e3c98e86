"""A whole Airflow in separate processes: scheduler, DAG processor, triggerer, API server, and local executor.

Its metadata database is PostgreSQL: SQLite has one writer at a time, and some of the waiting ones fail.
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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped,unused-ignore]
from psycopg import sql
from psycopg.errors import UndefinedTable

from tests.integration.servers.postgres import Postgres

START_TIMEOUT = 240.0
END_TIMEOUT = 15.0

#: Airflow runs the code of this folder, also where another one is installed.
ROOT = Path(__file__).resolve().parents[2]

_ERROR_MARKS = ("[error", "[critical", "Error", "Exception", "exited", "terminat")


@dataclass(frozen=True, slots=True)
class Process:
    """A process at one moment.

    :param cpu_seconds: of the process and of the children that it has waited for.
    """

    pid: int
    is_running: bool
    command_line: str
    cpu_seconds: float


def processes(session: int) -> Iterator[Process]:
    """Yield the processes of a session."""
    for one in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(one.pid) == session:
                times = one.cpu_times()
                seconds = times.user + times.system + times.children_user + times.children_system
                is_running = one.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
                yield Process(one.pid, is_running, " ".join(one.cmdline()) if is_running else "", seconds)


class Component:
    """A process that leads its own session, with all its descendants.

    The session identifies them, because Airflow starts each task in its own process group.
    """

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.has_ended = False
        self._cpu_seconds = 0.0
        with log.open("ab") as output:
            self._leader = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def processes(self) -> list[Process]:
        # The leader is waited for last, so its id cannot be reused before.
        return [] if self.has_ended else list(processes(self._leader.pid))

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its processes.

        It never decreases, although the time of a process that was not waited for is readable only while it exists.
        """
        self._cpu_seconds = max(self._cpu_seconds, sum(one.cpu_seconds for one in self.processes()))
        return self._cpu_seconds

    def signal(self, how: signal.Signals) -> None:
        for one in self.processes():
            if one.is_running:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, how)

    def kill_leader(self) -> None:
        """Kill its first process only; the others continue without it."""
        os.kill(self._leader.pid, signal.SIGKILL)

    def terminate(self, timeout: float) -> None:
        """Terminate it gracefully, as a service manager does: the leader ends the others."""
        os.kill(self._leader.pid, signal.SIGTERM)
        assert self.wait(timeout), f"{self.name} did not end: {self.processes()}"

    def kill(self) -> None:
        """Kill it as a machine crash would: all its processes at once, so that none can report the death of another."""
        self.signal(signal.SIGSTOP)
        self.cpu_seconds()
        for _ in range(20):
            self.signal(signal.SIGKILL)
            if self.wait(0.5):
                return
        raise AssertionError(f"{self.name} cannot be killed: {self.processes()}")

    def wait(self, timeout: float) -> bool:
        """Wait for all its processes, and return whether they have ended."""
        deadline = time.monotonic() + timeout
        while any(one.is_running for one in self.processes()):
            self.cpu_seconds()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        self.cpu_seconds()
        self._leader.wait()
        self.has_ended = True
        return True


class Airflow:
    """``airflow standalone`` with a home and a DAGs folder; a context manager.

    :param metadata: an empty database.
    :param environment: additional variables, for instance connections.
    :param executables: the folder of the ``airflow`` command; by default that of the tests' environment.
    """

    def __init__(
        self,
        home: Path,
        metadata: Postgres,
        dags: Path,
        environment: dict[str, str],
        executables: Path = Path(sys.executable).parent,
    ) -> None:
        self.home = home
        self._metadata = metadata
        api, worker_log, trigger_log = _free_ports(3)
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api),
            # Airflow 3.0 and 3.1 start four, which end each other on a busy machine.
            "AIRFLOW__API__WORKERS": "1",
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
            "PATH": f"{executables}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            # Compile the environment only; the DAG folders stay unchanged.
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }
        self._components: list[Component] = []
        self._triggered: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            self._start_components()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def _start_components(self) -> None:
        self._start("standalone")

    def _command(self, component: str) -> list[str]:
        """Return the command that starts a component."""
        return ["airflow", component]

    def _start(self, name: str) -> None:
        log = self.home / f"{name}.log"
        self._components.append(Component(name, self._command(name), self._environment, log))

    def _running(self) -> dict[str, Component]:
        """Return the components that were started and not stopped."""
        return {one.name: one for one in self._components if not one.has_ended}

    def _dead(self) -> list[str]:
        """Return the components that have ended without being stopped."""
        return [name for name, one in self._running().items() if not any(each.is_running for each in one.processes())]

    def replace(self, component: str) -> None:
        """Kill a component as a crash would, and start a new one."""
        running = self._running()
        if component in running:
            running[component].kill()
        else:
            for process in running["standalone"].processes():
                if component in process.command_line:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
        self._start(component)

    def _end(self) -> None:
        running = self._running().values()
        for component in running:
            component.signal(signal.SIGTERM)
        deadline = time.monotonic() + END_TIMEOUT
        for component in running:
            if not component.wait(deadline - time.monotonic()):
                component.kill()

    def wait_until_ready(self, dag_id: str) -> None:
        """Wait until a DAG is known and the API answers."""
        deadline = time.monotonic() + START_TIMEOUT
        while not (self._knows(dag_id) and self._api_answers()):
            assert time.monotonic() < deadline, self.diagnose()
            assert not self._dead(), self.diagnose()
            time.sleep(0.5)

    def _knows(self, dag_id: str) -> bool:
        try:
            return bool(self.rows("SELECT 1 FROM serialized_dag WHERE dag_id = %s", dag_id))
        except UndefinedTable:  # the tables do not exist yet
            return False

    def _api_answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self._environment['AIRFLOW__API__BASE_URL']}/api/v2/version", timeout=10).close()
        except OSError:
            return False
        return True

    @cached_property
    def _token(self) -> str:
        """The token of an administrator, without which Airflow 3.0 and 3.1 accept no request."""
        with urllib.request.urlopen(f"{self._environment['AIRFLOW__API__BASE_URL']}/auth/token", timeout=60) as answer:
            return str(json.load(answer)["access_token"])

    def trigger(self, dag_id: str, **conf: Any) -> None:
        """Trigger a manual run, without a logical date."""
        number = self._triggered[dag_id]
        self._triggered[dag_id] += 1
        run_id = f"{dag_id}-by-hand{f'-{number}' if number else ''}"
        self.call("POST", f"/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to the API, and return the content of the answer."""
        request = urllib.request.Request(
            f"{self._environment['AIRFLOW__API__BASE_URL']}/api/v2{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None

    def clear(self, dag_id: str, **options: Any) -> None:
        """Clear tasks of the DAG's runs: all, unless the options choose some."""
        body = {"dry_run": False, "only_failed": False, "reset_dag_runs": True, **options}
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 120.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.diagnose()}"
            time.sleep(0.1)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of its environment."""
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=120)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Query the metadata database."""
        with self._metadata.connect() as connection:
            return connection.execute(query, parameters).fetchall()

    def states(self) -> dict[str, list[str]]:
        """Return the states of the runs of each DAG."""
        states: dict[str, list[str]] = {}
        for dag_id, state in self.rows("SELECT dag_id, state FROM dag_run ORDER BY run_after"):
            states.setdefault(dag_id, []).append(state)
        return states

    def wait_for(self, expected: dict[str, list[str]], timeout: float) -> None:
        """Wait until the runs of each DAG have the expected states, and no other run exists."""
        deadline = time.monotonic() + timeout
        while True:
            states = self.states()
            if states == expected:
                return
            unexpected = [
                dag_id for dag_id, some in states.items() if "failed" in some and "failed" not in expected[dag_id]
            ]
            assert not unexpected, (states, self.diagnose())
            assert time.monotonic() < deadline, (states, self.diagnose())
            time.sleep(0.5)

    def diagnose(self) -> str:
        """Return the state of each task, and the errors of the components."""
        tasks = self.rows("SELECT dag_id, run_id, task_id, state, try_number, trigger_id FROM task_instance")
        errors = [f"{name} has ended" for name in self._dead()]
        for path in sorted(self.home.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()
            # The DAG processor repeats this column heading.
            some = [line for line in lines if "# Errors" not in line and any(mark in line for mark in _ERROR_MARKS)]
            errors += [f"{path.stem}: {line}" for line in some[-60:]]
        return "\n".join([*map(str, tasks), *errors])

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the place and the text of everything that it has written: its logs and its database."""
        for path in sorted(self.home.rglob("*")):
            if path.is_file() and path.suffix in (".log", ".out", ".err", ".json", ".cfg", ".txt"):
                yield str(path), path.read_text(errors="replace")
        for (table,) in self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            with self._metadata.connect() as connection:
                for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))):
                    yield table, "\n".join(map(_text, row))


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | memoryview) else str(value)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
