"""The services that are polled: the sandbox, and a stand-in for the peers' services; each in its own process."""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cordial_sandbox.process import SandboxProcess
from tests.integration.servers import LOOPBACK, free_port, running
from tests.integration.servers.trouble import certificate

#: The sandbox keeps at most this many requests.
REQUESTS_KEPT = 20_000


class Service(Protocol):
    """A running server.

    :param environment: what Airflow needs to reach it.
    """

    @property
    def pid(self) -> int: ...
    @property
    def environment(self) -> Mapping[str, str]: ...
    def add_jobs(self, count: int, shortest: float, longest: float) -> list[str]:
        """Start jobs that end one after another between two moments, in seconds, and return their ids."""

    def ended_at(self) -> dict[str, float]:
        """Return when each job ended, in seconds since the epoch."""

    def requests(self) -> int:
        """Return the number of requests since the jobs were added."""


@dataclass(frozen=True)
class Sandbox:
    process: SandboxProcess
    environment: Mapping[str, str]

    @property
    def pid(self) -> int:
        pid: int = json.loads((self.process.data / "sandbox.json").read_text())["pid"]
        return pid

    def add_jobs(self, count: int, shortest: float, longest: float) -> list[str]:
        jobs = self.process.control.add_jobs(count, shortest=shortest, longest=longest)
        self.process.control.clear_requests()
        return jobs

    def ended_at(self) -> dict[str, float]:
        return {job["id"]: job["ended_at"] for job in self.process.control.jobs() if job["status"] == "Done"}

    def requests(self) -> int:
        return len(self.process.control.requests())


@contextmanager
def sandbox(folder: Path, extra: Mapping[str, Any], behaviour: Mapping[str, Any]) -> Iterator[Sandbox]:
    """Run an empty sandbox.

    :param extra: of the Airflow connection to it.
    """
    with SandboxProcess(folder / "sandbox") as process:
        process.control.behaviour(**behaviour)
        connection = {"conn_type": "cordial", "host": process.url, "password": process.api_key, "extra": extra}
        yield Sandbox(process, {"AIRFLOW_CONN_CORDIAL_DEFAULT": json.dumps(connection)})


@dataclass(frozen=True)
class Peers:
    pid: int
    environment: Mapping[str, str]
    url: str
    trusted: ssl.SSLContext
    _jobs: dict[str, float] = field(default_factory=dict)

    def add_jobs(self, count: int, shortest: float, longest: float) -> list[str]:
        now, step = time.time(), (longest - shortest) / max(1, count - 1)
        ends = [round((now + shortest + n * step) * 1000) for n in range(count)]
        self._jobs.update({str(end): end / 1000 for end in ends})
        return list(self._jobs)

    def ended_at(self) -> dict[str, float]:
        return self._jobs

    def requests(self) -> int:
        with urllib.request.urlopen(f"{self.url}/requests", timeout=30, context=self.trusted) as answer:
            return int(answer.read())


@contextmanager
def peers(folder: Path) -> Iterator[Peers]:
    """Run the stand-in for dbt Cloud and Databricks with TLS, which one requires and the other is used with."""
    pem, port = certificate(folder / "tls.pem"), free_port()
    connections: dict[str, dict[str, Any]] = {
        "dbt_cloud": {"host": f"{LOOPBACK}:{port}", "login": "1", "password": "token-of-nobody"},
        "databricks": {"host": LOOPBACK, "port": port, "password": "token-of-nobody"},
    }
    environment = {
        f"AIRFLOW_CONN_{name.upper()}_DEFAULT": json.dumps({"conn_type": name, **connection})
        for name, connection in connections.items()
    }
    command = [sys.executable, str(Path(__file__).with_name("peers.py")), str(port), str(pem)]
    with running(command, port) as process:
        trusted = ssl.create_default_context(cafile=pem)
        trust = {"SSL_CERT_FILE": str(pem)}
        yield Peers(process.pid, {**environment, **trust}, f"https://{LOOPBACK}:{port}", trusted)
