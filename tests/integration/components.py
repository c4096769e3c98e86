"""A whole Airflow with each component on its own, so that one can be killed and started again without the others.

:class:`~tests.integration.airflow.Airflow` runs everything under one process.
"""

from __future__ import annotations

import itertools
import secrets
import subprocess
from pathlib import Path

from cryptography.fernet import Fernet

from tests.integration.airflow import Airflow
from tests.integration.servers.postgres import Postgres

COMMAND_TIMEOUT = 120.0
ORDERLY_END_TIMEOUT = 60.0


class Components(Airflow):
    """Scheduler, DAG processor, API server, and triggerers; a context manager.

    Each component has its own log in ``home``, and all share one folder for the logs of tasks. The names of those that
    can be replaced end in a number.

    :param metadata: an empty database.
    :param environment: additional variables, which override the ones set here.
    """

    #: Those that cannot be replaced, and those that can.
    permanent: tuple[str, ...] = ("api-server", "dag-processor")
    replaceable: tuple[str, ...] = ("scheduler", "triggerer")

    def __init__(self, home: Path, metadata: Postgres, dags: Path, environment: dict[str, str]) -> None:
        shared = {
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        }
        super().__init__(home, metadata, dags, {**shared, **environment})
        self._numbers = itertools.count(1)

    def _start_components(self) -> None:
        self.command("db", "migrate")
        for component in self.permanent:
            self._start(component)
        for kind in self.replaceable:
            self._start_one(kind)

    def _start_one(self, kind: str) -> None:
        self._start(f"{kind}{next(self._numbers)}")

    def _command(self, component: str) -> list[str]:
        kind = kind_of(component)
        # The API server reads the logs of tasks and triggers from the shared folder.
        return ["airflow", kind, *(["--skip-serve-logs"] if kind in ("scheduler", "triggerer") else [])]

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
        return [name for name in self._running() if kind_of(name) == kind]

    def kill(self, name: str) -> None:
        """Kill a component with all its processes, as a machine crash would, and start a new one."""
        self._running()[name].kill()
        self._start_one(kind_of(name))

    def restart(self, name: str) -> None:
        """Terminate a component gracefully, and start a new one."""
        self._running()[name].terminate(ORDERLY_END_TIMEOUT)
        self._start_one(kind_of(name))

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time of each kind of component, including those that have ended."""
        seconds: dict[str, float] = {}
        for component in self._components:
            kind = kind_of(component.name)
            seconds[kind] = seconds.get(kind, 0.0) + component.cpu_seconds()
        return seconds


def kind_of(component: str) -> str:
    """Return the kind of a component."""
    return component.rstrip("0123456789")
