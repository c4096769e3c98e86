"""One run: a contender in a fresh process, and the service that it polls in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil  # type: ignore[import-untyped,unused-ignore]

from waits import services
from waits.plan import Plan
from waits.services import Service

BENCHMARKS = Path(__file__).resolve().parent.parent

#: The jobs end between these shares of a run.
FIRST_END, LAST_END = 0.25, 0.92

#: Extra seconds for events that are late.
EVENT_GRACE = 20.0

LOG_TAIL = 4_000


@dataclass(frozen=True)
class Contender:
    """A contender.

    :param kind: the key of ``triggers.FACTORIES``.
    :param poll_interval: seconds; by default that of the benchmark.
    :param extra: the extra of its Airflow connection.
    :param behaviour: the settings of the sandbox.
    :param counts: the numbers of waits for which it runs unless it is chosen by ``--only``; None for all.
    """

    name: str
    kind: str
    poll_interval: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    counts: tuple[int, ...] | None = None

    @contextmanager
    def service(self, folder: Path) -> Iterator[Service]:
        if self.kind in ("limit", "dbt_cloud", "databricks"):
            with services.peers(folder) as peers:
                yield peers
        else:
            with services.sandbox(folder, self.extra, self.behaviour) as sandbox:
                yield sandbox


@dataclass(frozen=True)
class Result:
    """The result of a run.

    :param measured: see ``child.Measurements``.
    :param delays: seconds from Done to the event, sorted.
    :param requests: the requests that the server recorded; it keeps a limited number.
    :param server_cpu: CPU time of the server, in seconds.
    """

    contender: Contender
    count: int
    poll_interval: float
    measured: Mapping[str, Any]
    delays: list[float]
    requests: int
    server_cpu: float

    @property
    def seconds(self) -> float:
        return float(self.measured["seconds"])

    @property
    def cpu(self) -> float:
        return float(self.measured["cpu"])

    @property
    def kilobytes_per_wait(self) -> float:
        return float(self.measured["peak"] - self.measured["base"]) / self.count

    def delay(self, share: float) -> float:
        """Return the delay that this share of all waits did not exceed; infinite for waits without an event."""
        place = min(self.count - 1, int(share * self.count))
        return self.delays[place] if place < len(self.delays) else float("inf")


def run(contender: Contender, count: int, seconds: float, poll_interval: float) -> Result:
    """Run one contender with a number of waits.

    :param seconds: the duration of the run; the jobs end within it.
    """
    poll_interval = contender.poll_interval or poll_interval
    plan = Plan(contender.kind, poll_interval, seconds, timeout=seconds + EVENT_GRACE)
    with tempfile.TemporaryDirectory(prefix="cordial-wait-") as name:
        folder = Path(name)
        with contender.service(folder) as service, child(folder, service, plan) as process:
            server = psutil.Process(service.pid)
            jobs = service.add_jobs(count, FIRST_END * seconds, LAST_END * seconds)
            before = sum(server.cpu_times()[:2])
            measured = run_child(process, jobs)
            spent = sum(server.cpu_times()[:2]) - before
            ended_at = service.ended_at()
            delays = sorted(moment - ended_at[job] for job, moment in measured["arrivals"].items())
            return Result(contender, count, poll_interval, measured, delays, service.requests(), spent)


@contextmanager
def child(folder: Path, service: Service, plan: Plan) -> Iterator[subprocess.Popen[str]]:
    """Start a child, and wait until it is ready."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
        **service.environment,
        "PYTHONPATH": str(BENCHMARKS),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Logging is not part of the comparison.
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "NO_PROXY": "127.0.0.1",
    }
    log = folder / "child.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "waits.child", json.dumps(asdict(plan))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            next(line for line in output(process) if line == "ready\n")
            yield process
        except BaseException:
            process.kill()
            print(log.read_text()[-LOG_TAIL:], file=sys.stderr)
            raise


def run_child(process: subprocess.Popen[str], jobs: list[str]) -> Mapping[str, Any]:
    """Let a child wait for jobs, and return its ``child.Measurements``."""
    assert process.stdin
    process.stdin.write(json.dumps(jobs) + "\n")
    process.stdin.flush()
    measured: Mapping[str, Any] = json.loads(next(output(process)))
    return measured


def output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout
    return process.stdout
