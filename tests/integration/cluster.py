"""A whole Airflow as on several machines: Celery workers on Redis, and each component on its own.

A worker can die without the others, like a machine.
"""

from __future__ import annotations

from pathlib import Path

from tests.integration.components import Components, kind_of
from tests.integration.servers.postgres import Postgres
from tests.integration.servers.redis import Redis

WORKERS = 2
WORKER_CONCURRENCY = 4

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


class Cluster(Components):
    """PostgreSQL, Redis, scheduler, DAG processor, API server, triggerers, and two Celery workers; a context manager.

    The names of workers and triggerers end in a number.

    :param metadata: an empty database.
    :param environment: additional variables, which override the ones set here.
    """

    permanent = ("api-server", "scheduler", "dag-processor")

    def __init__(
        self,
        home: Path,
        metadata: Postgres,
        broker: Redis,
        dags: Path,
        environment: dict[str, str],
        triggerers: int = 1,
    ) -> None:
        celery = {
            "AIRFLOW__CELERY__BROKER_URL": broker.url(),
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{metadata.url('postgresql+psycopg2')}",
        }
        super().__init__(home, metadata, dags, {**_SETTINGS, **celery, **environment})
        self.replaceable = ("triggerer",) * triggerers + ("worker",) * WORKERS

    def _command(self, component: str) -> list[str]:
        if kind_of(component) != "worker":
            return super()._command(component)
        options = ["--celery-hostname", f"{component}@%h", "--concurrency", str(WORKER_CONCURRENCY)]
        # Workers do not need to know about each other.
        return ["airflow", "celery", "worker", *options, "--without-gossip", "--without-mingle", "--skip-serve-logs"]

    def find_worker(self, pid: int) -> str:
        """Return the worker that a process belongs to; a task records its process in ``pid``."""
        for name in self.list_components("worker"):
            if any(process.pid == pid for process in self._running()[name].processes()):
                return name
        raise AssertionError(f"Process {pid} belongs to no worker")
