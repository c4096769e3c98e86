"""A run of Airflow under faults and kills: its work, its victims, and its figures."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped,unused-ignore]
from cryptography.fernet import Fernet
from psycopg.errors import UndefinedTable

from cordial_sandbox.process import SandboxProcess
from tests.faults.plan import KillKind, Scale, plan_kills
from tests.faults.proxy import FaultProxy
from tests.faults.secret_forms import find_secrets
from tests.faults.verdict import Result, Row, describe
from tests.integration.components import Components
from tests.integration.servers.postgres import Postgres

AUDIENCES = ("opened_last_30_days", "purchased_last_30_days")
TABLE = "trends_under_faults"
FIRST_DAY = date(2026, 1, 20)

#: Seconds between two checks of the run.
PAUSE = 0.2

_SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "5",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    # The time to detect that a task died with its supervisor; five minutes by default.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
    # The time until a new scheduler resets the tasks of a dead one.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "12",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "4",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    # The time until the triggers of a dead triggerer move to another.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    # Longer than the scheduler needs to record a deferral; otherwise Airflow fails the task.
    "AIRFLOW__CORDIAL__POLL_INTERVAL": "5",
}


class LocalAirflow(Components):
    """An Airflow whose tasks run under the scheduler, in the workers of the ``LocalExecutor``; a context manager.

    Each worker supervises one task at a time, in a child process.
    """

    def __init__(self, home: Path, metadata: Postgres, dags: Path, environment: dict[str, str]) -> None:
        super().__init__(home, metadata, dags, {**_SETTINGS, **environment})

    def kill_one(self, kind: KillKind, chance: random.Random) -> bool:
        """Kill a process of a kind, and return whether there was one."""
        if kind == "triggerer":
            self.kill(self._newest("triggerer"))
            return True
        if kind == "machine":
            self.kill(self._newest("scheduler"))
            return True
        if kind == "scheduler":
            name = self._newest("scheduler")
            self._running()[name].kill_leader()
            self._start_one("scheduler")
            return True
        victims = sorted(self._supervisors().items())
        if not victims:
            return False
        task, supervisor = chance.choice(victims)
        try:
            os.kill(task if kind == "task" else supervisor, signal.SIGKILL)
        except ProcessLookupError:  # it has already ended
            return False
        return True

    def end_idle_orphans(self) -> None:
        """End the idle workers of killed schedulers: they would wait forever for tasks that nobody sends."""
        for name in self.list_components("scheduler")[:-1]:
            for process in self._running()[name].processes():
                if "<idle>" in process.command_line:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)

    def transient_texts(self) -> Iterator[tuple[str, str]]:
        """Yield the rows that do not outlive a task: those of triggers and of the task state store."""
        fernet = Fernet(self._environment["AIRFLOW__CORE__FERNET_KEY"].encode())
        for classpath, kwargs in self.rows("SELECT classpath, kwargs FROM trigger"):
            # Airflow encrypts those of some triggers.
            text = kwargs if kwargs.startswith("{") else fernet.decrypt(kwargs.encode()).decode()
            yield "a trigger", f"{classpath} {text}"
        for (value,) in self.rows("SELECT value::text FROM task_state_store"):
            yield "the task state store", value

    def _newest(self, kind: str) -> str:
        return self.list_components(kind)[-1]

    def _supervisors(self) -> dict[int, int]:
        """Return the process of each running task, and that of its supervisor."""
        found: dict[int, int] = {}
        for (pid,) in self.rows("SELECT pid FROM task_instance WHERE state = 'running' AND pid IS NOT NULL"):
            with suppress(psutil.NoSuchProcess):
                task = psutil.Process(pid)
                parent = task.parent()
                if task.status() != psutil.STATUS_ZOMBIE and parent and "LocalExecutor" in " ".join(parent.cmdline()):
                    found[pid] = parent.pid
        return found


class FaultRun:
    """Starts exports, kills processes meanwhile, and compares the outcome with what was asked for."""

    def __init__(
        self,
        airflow: LocalAirflow,
        sandbox: SandboxProcess,
        proxy: FaultProxy,
        warehouse: Postgres,
        scale: Scale,
        seed: int,
    ) -> None:
        self.result = Result(seed, scale.exports)
        self._airflow = airflow
        self._sandbox = sandbox
        self._proxy = proxy
        self._warehouse = warehouse
        self._scale = scale
        self._kills = plan_kills(scale, seed)
        self._chance = random.Random(f"{seed} victims")
        #: Every fifth export waits in its task.
        self._dags = ["blocking" if n % 5 == 4 else "deferred" for n in range(scale.exports)]
        self.days = [str(FIRST_DAY + timedelta(days=n)) for n in range(scale.exports)]
        self._started = 0
        #: What was written meanwhile and is gone at the end: a place and its text each.
        self._seen: set[tuple[str, str]] = set()

    def disrupt(self) -> None:
        """Start all exports and kill processes until every export has ended."""
        begin = last_kill = time.monotonic()
        while True:
            ended = self._count_ended()
            self._start_exports(ended)
            now = time.monotonic()
            if (
                self._kills
                and now - last_kill >= self._pause()
                and self._airflow.kill_one(self._kills[0][1], self._chance)
            ):
                self.result.kills[self._kills.pop(0)[1]] += 1
                last_kill = now
            self._airflow.end_idle_orphans()
            self._seen.update(self._airflow.transient_texts())
            if ended == self._scale.exports:
                break
            assert now - begin < self._scale.timeout, f"{self._progress(ended)}\n{self._airflow.diagnose()}"
            time.sleep(PAUSE)
        self.result.seconds = time.monotonic() - begin

    def _pause(self) -> float:
        """Return the seconds before the next kill: fewer while the last export, which has to last for it, runs."""
        return self._kills[0][0] if self._started < self._scale.exports else self._scale.pauses[0]

    def _progress(self, ended: int) -> str:
        return f"{ended} of {self._started} started exports have ended; kills: {describe(self.result.kills)}"

    def _count_ended(self) -> int:
        ((ended,),) = self._airflow.rows("SELECT count(*) FROM dag_run WHERE state IN ('success', 'failed')")
        return int(ended)

    def _start_exports(self, ended: int) -> None:
        """Start exports, so many at a time, and not so early that none would be left for the last kills."""
        while self._started < self._scale.exports and self._started - ended < self._scale.active:
            kills, exports = sum(self._scale.kills.values()), self._scale.exports
            is_early = (self._started - 1) * kills >= self.result.kills.total() * exports
            is_last = self._started == exports - 1 and len(self._kills) > 1
            if self._started - ended >= min(2, self._scale.active) and (is_early or is_last):
                return
            number = self._started
            body = {"dag_run_id": self.days[number], "logical_date": None, "conf": {"day": self.days[number]}}
            self._airflow.call("POST", f"/dags/{self._dags[number]}/dagRuns", body)
            self._started += 1

    def evaluate(self) -> None:
        """Compare Cordial's jobs and the warehouse with what was asked for."""
        counts = self._proxy.counts
        self.result.requests = counts.total()
        self.result.faults = Counter({f"{kind} {fault}": n for (kind, fault), n in counts.items() if fault != "none"})
        ((tries,),) = self._airflow.rows("SELECT coalesce(sum(try_number), 0) FROM task_instance")
        self.result.tries = int(tries)
        failed = self._airflow.rows("SELECT run_id FROM dag_run WHERE state = 'failed' ORDER BY run_id")
        jobs: dict[str, list[dict[str, Any]]] = {}
        for job in reversed(self._sandbox.control.jobs()):
            jobs.setdefault(job["selected_timeframe_start"], []).append(job)
        self.result.judge(
            jobs,
            self._rows(),
            {day: self._snapshots(day) for day in self.days},
            {day: self._last_error(day) for (day,) in failed},
        )

    def _snapshots(self, day: str) -> set[tuple[str, int]]:
        found = {
            (audience, int(one["contacts"]))
            for audience in AUDIENCES
            for one in self._sandbox.control.snapshots(audience=audience, start=day, end=day)
        }
        assert len(found) == len(AUDIENCES)
        return found

    def _rows(self) -> dict[str, list[Row]]:
        rows: dict[str, list[Row]] = {}
        with self._warehouse.connect() as connection, suppress(UndefinedTable):
            query = f"SELECT snapshot_date::text, audience, contacts, job_id FROM {TABLE}"
            for day, *values in connection.execute(query):
                rows.setdefault(day, []).append(Row(*values))
        return rows

    def _last_error(self, day: str) -> str:
        """Return the last error that a task of a run logged."""
        last = "no error was logged"
        logs = sorted(self._airflow.home.rglob(f"run_id={day}/**/attempt=*.log"), key=lambda path: path.stat().st_mtime)
        for log in logs:
            for line in log.read_text(errors="replace").splitlines():
                if found := re.search(r'"exc_type":\s*"(\w+)",\s*"exc_value":\s*("(?:[^"\\]|\\.)*")', line):
                    last = f"{found[1]}: {json.loads(found[2])}"
        return last

    def search_secrets(self, secrets: dict[str, str]) -> list[tuple[str, str]]:
        """Search everything that Airflow and the sandbox have written for secrets, and return it."""
        log = self._sandbox.log
        texts = [*self._airflow.texts(), *sorted(self._seen), (str(log), log.read_text(errors="replace"))]
        self.result.texts = len(texts)
        self.result.secrets = list(find_secrets(texts, secrets))
        return texts
