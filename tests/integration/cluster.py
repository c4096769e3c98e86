"""A whole Airflow as on several machines: Celery workers on Redis, and each component on its own.

:class:`~tests.integration.airflow.Airflow` runs everything under one process, and the tasks in the scheduler's process.
Here a worker can die without the others, like a machine.
"""

from __future__ import annotations

import itertools
import secrets
import subprocess
from pathlib import Path

from cryptography.fernet import Fernet

from tests.integration.airflow import Airflow
from tests.integration.servers.postgres import Postgres
from tests.integration.servers.redis import Redis

WORKERS = 2
WORKER_CONCURRENCY = 4
COMMAND_TIMEOUT = 120.0
ORDERLY_END_TIMEOUT = 60.0

_SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    # No more tasks than worker slots, so that none waits in Redis while the scheduler counts it as started.
    "AIRFLOW__CORE__PARALLELISM": str(WORKERS * WORKER_CONCURRENCY),
    # A machine with few cores has a slow second at times; by default a message that takes a second is sent again.
    "AIRFLOW__CELERY__OPERATION_TIMEOUT": "10",
    # Messages are sent by the scheduler's own process instead of a pool.
    "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
    # A task that a dead worker had accepted and not started is sent again after this time; ten minutes by default.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    # After this time Celery redelivers every message that no worker has acknowledged, which includes running tasks: so
    # longer than any task here. It would not be faster than the setting above, because it checks every 100 seconds.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "3600",
    # The time to detect that a running task died with its worker; five minutes by default. Tasks send a heartbeat every
    # five seconds.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # The time until a new scheduler adopts the tasks of a dead one, in addition to the half minute in which the dead
    # one counts as alive.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    # The time until the triggers of a dead triggerer move to another. It sends a heartbeat every five seconds; a
    # triggerer that was terminated gracefully releases its triggers itself.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    # Few DAGs, and few cores.
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
}


class Cluster(Airflow):
    """PostgreSQL, Redis, scheduler, DAG processor, API server, triggerers, and two Celery workers; a context manager.

    Each component has its own log in ``home``, and all share one folder for the logs of tasks. The names of workers
    and triggerers end in a number.

    :param metadata: an empty database.
    :param environment: additional variables, which override the ones set here.
    """

    def __init__(
        self,
        home: Path,
        metadata: Postgres,
        broker: Redis,
        dags: Path,
        environment: dict[str, str],
        triggerers: int = 1,
    ) -> None:
        shared = {
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__CELERY__BROKER_URL": broker.url(),
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{metadata.url('postgresql+psycopg2')}",
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        }
        super().__init__(home, metadata, dags, {**_SETTINGS, **shared, **environment})
        self._triggerers = triggerers
        self._numbers = itertools.count(1)

    def _start_components(self) -> None:
        self.command("db", "migrate")
        for component in ("api-server", "scheduler", "dag-processor"):
            self._start(component)
        for kind in ("triggerer",) * self._triggerers + ("worker",) * WORKERS:
            self._start_one(kind)

    def _start_one(self, kind: str) -> None:
        self._start(f"{kind}{next(self._numbers)}")

    def _command(self, component: str) -> list[str]:
        kind = _kind(component)
        # The API server reads the logs of tasks and triggers from the shared folder.
        if kind == "triggerer":
            return ["airflow", "triggerer", "--skip-serve-logs"]
        if kind != "worker":
            return ["airflow", component]
        options = ["--celery-hostname", f"{component}@%h", "--concurrency", str(WORKER_CONCURRENCY)]
        # Workers do not need to know about each other.
        return ["airflow", "celery", "worker", *options, "--without-gossip", "--without-mingle", "--skip-serve-logs"]

    def command(self, *arguments: str) -> str:
        """Run an Airflow command, and return its output."""
        run = subprocess.run(
            ["airflow", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        assert run.returncode == 0, f"airflow {' '.join(arguments)}: {run.stdout}{run.stderr}"
        return run.stdout

    def list_components(self, kind: str) -> list[str]:
        """Return the running components of a kind, the oldest first."""
        return [name for name in self._running() if _kind(name) == kind]

    def find_worker(self, pid: int) -> str:
        """Return the worker that a process belongs to; a task records its process in ``pid``."""
        for name in self.list_components("worker"):
            if any(process.pid == pid for process in self._running()[name].processes()):
                return name
        raise AssertionError(f"Process {pid} belongs to no worker")

    def kill(self, name: str) -> None:
        """Kill a worker with its tasks, or a triggerer, as a machine crash would, and start a new one."""
        self._running()[name].kill()
        self._start_one(_kind(name))

    def restart(self, name: str) -> None:
        """Terminate a worker or a triggerer gracefully, and start a new one."""
        self._running()[name].terminate(ORDERLY_END_TIMEOUT)
        self._start_one(_kind(name))

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time of each kind of component, including those that have ended."""
        seconds: dict[str, float] = {}
        for component in self._components:
            kind = _kind(component.name)
            seconds[kind] = seconds.get(kind, 0.0) + component.cpu_seconds()
        return seconds


def _kind(component: str) -> str:
    return component.rstrip("0123456789")
