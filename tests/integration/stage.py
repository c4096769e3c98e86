"""A cluster, a sandbox, and a warehouse under faults: their work, the faults, and the figures."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from airflow_provider_cordial.exports.timeframe import Timeframe
from cordial_sandbox.process import SandboxProcess
from tests.integration.cluster import Cluster
from tests.integration.servers.postgres import Postgres

AUDIENCES = ("opened_last_30_days", "purchased_last_30_days")

Figures = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much work there is, and how many faults.

    :param runs: runs of the backfill by runs.
    :param ranges: days of the backfill by ranges.
    :param partitions: partitions of the backfill by partitions.
    :param faults_every: seconds between two faults.
    :param workers_killed: workers killed during the backfill by runs.
    :param kept: days of the table that is kept whole.
    :param is_full: whether every chapter runs, also those whose schedules test_scheduler.py tests.
    :param triggerers: during the backfill by runs, one is restarted and the others are killed.
    """

    runs: int
    ranges: int
    days_per_export: int
    partitions: int
    faults_every: float
    workers_killed: int
    triggerers: int
    kept: int
    is_full: bool


SCALES = {
    "small": Scale(
        runs=8,
        ranges=70,
        days_per_export=20,
        partitions=2,
        faults_every=1.5,
        workers_killed=1,
        triggerers=1,
        kept=45,
        is_full=False,
    ),
    "full": Scale(
        runs=30,
        ranges=365,
        days_per_export=31,
        partitions=7,
        faults_every=1.0,
        workers_killed=2,
        triggerers=2,
        kept=365,
        is_full=True,
    ),
}

#: None of them justifies another export: the job exists, or the request certainly did not arrive.
FAULTS: tuple[dict[str, Any], ...] = (
    {"request": "create_export", "effect": "reset", "processed": True},
    {"request": "create_export", "effect": "truncate"},
    {"request": "create_export", "effect": "answer", "status": 503, "processed": True},
    {"request": "create_export", "effect": "answer", "status": 429, "headers": {"Retry-After": "2"}},
    {"request": "create_export", "effect": "delay", "seconds": 3},
    {"request": "get_job", "effect": "answer", "status": 429, "headers": {"Retry-After": "2"}},
    {"request": "get_job", "effect": "reset"},
    {"request": "list_jobs", "effect": "answer", "status": 503},
    {"request": "list_jobs", "effect": "truncate"},
    {"request": "list_jobs", "effect": "answer", "status": 429, "headers": {"Retry-After": "2"}},
    {"request": "any", "effect": "delay", "seconds": 2},
)


@dataclass
class Stage:
    """The cluster, the sandbox, and the warehouse, and their figures."""

    cluster: Cluster
    sandbox: SandboxProcess
    warehouse: Postgres
    scale: Scale
    figures: dict[str, Figures] = field(default_factory=dict)

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Measure time, requests to Cordial, and the CPU time of Airflow's components."""
        self.sandbox.control.clear_requests()
        jobs, tries = len(self.sandbox.control.jobs()), self._tries()
        started, cpu = time.monotonic(), self.cluster.cpu_seconds()
        found: Figures = {}
        self.figures[what] = found
        yield
        found["seconds"] = time.monotonic() - started
        found["cpu"] = {name: seconds - cpu[name] for name, seconds in self.cluster.cpu_seconds().items()}
        requests = self.sandbox.control.requests()
        found["jobs"] = len(self.sandbox.control.jobs()) - jobs
        found["requests"] = Counter(request["request"] for request in requests)
        found["faults"] = sum(request["fault"] is not None for request in requests)
        found["429"] = sum(request["status"] == 429 for request in requests)
        found["tries"] = self._tries() - tries

    def _tries(self) -> int:
        """Return the number of tries of all tasks."""
        ((tries,),) = self.cluster.rows("SELECT coalesce(sum(try_number), 0) FROM task_instance")
        return int(tries)

    @contextmanager
    def random_faults(self, seed: int) -> Iterator[None]:
        """Lose, reject, and delay answers at random."""
        stop, chance = threading.Event(), random.Random(seed)

        def inject() -> None:
            while not stop.wait(self.scale.faults_every):
                fault = chance.choice(FAULTS)
                # At most one pending fault per kind, or they would pile up for the next request of a rare kind.
                if fault["request"] not in {waiting["request"] for waiting in self.sandbox.control.faults()}:
                    self.sandbox.control.fault(**fault, times=1)

        thread = threading.Thread(target=inject)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.sandbox.control.clear_faults()

    def jobs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return Cordial's jobs of a DAG, the oldest first."""
        prefix = f"{dag_id.replace('_', '-')}-"
        return [job for job in reversed(self.sandbox.control.jobs()) if job["name"].startswith(prefix)]

    def job_ids(self, table: str) -> set[str]:
        with self.warehouse.connect() as connection:
            return {job_id for (job_id,) in connection.execute(f"SELECT DISTINCT job_id FROM {table}")}

    def fill_table(
        self, table: str, days: Timeframe, *, without: Collection[tuple[str, date]], blank: Collection[tuple[str, date]]
    ) -> None:
        """Create a table with the sandbox's snapshots of these days.

        :param without: cells that it lacks.
        :param blank: cells without a number.
        """
        columns = "audience text, snapshot_date date, contacts bigint, job_id text, loaded_at timestamptz"
        with self.warehouse.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY (audience, snapshot_date))")
            for audience in AUDIENCES:
                for one in self.sandbox.control.snapshots(audience=audience, start=str(days.start), end=str(days.end)):
                    cell = (audience, date.fromisoformat(one["date"]))
                    if cell not in without:
                        contacts = None if cell in blank else one["contacts"]
                        cursor.execute(f"INSERT INTO {table} VALUES (%s, %s, %s, 'j', now())", (*cell, contacts))

    def compare_table(self, table: str, days: Timeframe) -> dict[str, int]:
        """Compare a table with the sandbox's snapshots, day by day."""
        with self.warehouse.connect() as connection:
            rows = connection.execute(f"SELECT audience, snapshot_date::text, contacts FROM {table}").fetchall()
        expected = {
            (audience, one["date"]): one["contacts"]
            for audience in AUDIENCES
            for one in self.sandbox.control.snapshots(audience=audience, start=str(days.start), end=str(days.end))
        }
        assert len(expected) == len(AUDIENCES) * len(days)
        times = Counter((audience, day) for audience, day, _ in rows)
        return {
            "rows": len(rows),
            "missing": len(expected.keys() - times.keys()),
            "doubled": len(rows) - len(times),
            "wrong": sum(expected.get((audience, day), ...) != contacts for audience, day, contacts in rows),
        }

    def check_table(self, table: str, days: Timeframe, *, due: int) -> None:
        """Check that a table has exactly these days, from as many jobs as were due since the last check."""
        found = self.compare_table(table, days)
        figures = list(self.figures.values())[-1]
        figures.update(found, due=due)
        assert figures["jobs"] == due
        assert found == {"rows": len(AUDIENCES) * len(days), "missing": 0, "doubled": 0, "wrong": 0}, table

    def backfill(self, dag_id: str, days: Timeframe, *options: str, nights_after: int = 1) -> None:
        """Backfill the days, each by a run so many nights after it."""
        first, last = (day + timedelta(days=nights_after) for day in (days.start, days.end + timedelta(days=1)))
        dates = ("--from-date", str(first), "--to-date", str(last))
        self.cluster.command("backfill", "create", "--dag-id", dag_id, *dates, *options)

    def wait(self, dag_id: str, states: Sequence[str], timeout: float) -> None:
        """Wait until the runs of a DAG are in these states."""

        def is_reached() -> bool:
            found = self.cluster.states().get(dag_id, [])
            assert "failed" not in found, self.cluster.diagnose()
            return found == list(states)

        self.cluster.wait_until(is_reached, f"the runs of {dag_id}", timeout)


def report(figures: dict[str, Figures]) -> str:
    """Return the figures as text."""
    lines = [""]
    for what, found in figures.items():
        jobs = found.get("jobs", 0)
        counts = ", ".join(
            f"{key} {found.get(key)}" for key in ("rows", "missing", "doubled", "wrong", "faults", "429", "tries")
        )
        lines.append(f"{what}: {jobs} jobs of {found.get('due')} due in {found.get('seconds', 0):.0f} s; {counts}")
        for name in ("requests", "cpu"):
            each = ", ".join(f"{key} {n / jobs:.2f}" for key, n in sorted(found.get(name, {}).items())) if jobs else ""
            lines.append(f"    {name} a job: {each}")
    return "\n".join(lines)
