"""A whole Airflow as it is run on several machines: Celery workers on Redis, and each component by itself.

:class:`~tests.integration.airflow.Airflow` runs everything below one process, and the tasks in the scheduler's
own; here a worker can die without the others, as a machine does.
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
    # Not more tasks than the workers have slots, so that none waits in Redis while the scheduler counts it as started.
    "AIRFLOW__CORE__PARALLELISM": str(WORKERS * WORKER_CONCURRENCY),
    # A machine with few cores has a slow second now and then; by default a message that takes one is sent again.
    "AIRFLOW__CELERY__OPERATION_TIMEOUT": "10",
    # Messages are sent in the scheduler's own process, and not in a pool of others.
    "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
    # A task whose message a dead worker had taken and not begun is sent again after this time; ten minutes by default.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    # After this time Celery gives out again what no worker has acknowledged, and that is also every task that still
    # runs: longer than any runs here. It would not be quicker than the above, for it looks only every 100 seconds.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "3600",
    # How long it takes to see that a running task died with its worker; five minutes by default. Tasks send a heartbeat
    # every five seconds.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # How long it takes until a new scheduler takes over the tasks of one that died, beside the half minute in which the
    # dead one passes for alive.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    # How long it takes until the triggers of a triggerer that died go to another. It sends a heartbeat every five
    # seconds; one that ended in an orderly way needs none of this.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    # There are few DAGs, and few cores.
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
}


class Cluster(Airflow):
    """PostgreSQL, Redis, scheduler, DAG processor, API server, triggerers and two Celery workers; a context manager.

    Each component has a log of its own in ``home``, and all have one folder for the logs of tasks. The names of workers
    and triggerers end in a number.

    :param metadata: an empty database.
    :param environment: set besides, or instead of what is set here.
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
        # The API server reads the logs of tasks and triggers from the folder that all share.
        if kind == "triggerer":
            return ["airflow", "triggerer", "--skip-serve-logs"]
        if kind != "worker":
            return ["airflow", component]
        options = ["--celery-hostname", f"{component}@%h", "--concurrency", str(WORKER_CONCURRENCY)]
        # Workers do not need to know of each other.
        return ["airflow", "celery", "worker", *options, "--without-gossip", "--without-mingle", "--skip-serve-logs"]

    def command(self, *arguments: str) -> str:
        """Run a command of Airflow's own, and return what it prints."""
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

    def all_of(self, kind: str) -> list[str]:
        """Return the components of a kind that there are now, the oldest first."""
        return [name for name in self._running() if _kind(name) == kind]

    def worker_of(self, pid: int) -> str:
        """Return the worker that a process belongs to; a task's is in its ``pid``."""
        for name in self.all_of("worker"):
            if any(process.pid == pid for process in self._running()[name].processes()):
                return name
        raise AssertionError(f"Process {pid} is of no worker")

    def kill(self, name: str) -> None:
        """Kill a worker with its tasks, or a triggerer, as a machine that dies, and start another of its kind."""
        self._running()[name].kill()
        self._start_one(_kind(name))

    def restart(self, name: str) -> None:
        """End a worker or a triggerer in an orderly way, and start another of its kind."""
        self._running()[name].terminate(ORDERLY_END_TIMEOUT)
        self._start_one(_kind(name))

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time that each kind of component has used, those that have ended included."""
        seconds: dict[str, float] = {}
        for component in self._components:
            kind = _kind(component.name)
            seconds[kind] = seconds.get(kind, 0.0) + component.cpu_seconds()
        return seconds


def _kind(component: str) -> str:
    return component.rstrip("0123456789")
