"""Kill a task again and again, retry it as Airflow does, and count the resulting jobs.

Each try is a separate process that runs the operator's real ``execute`` and sends real requests; it is killed with
SIGKILL at a named point, or at any time. What Airflow keeps between the tries of a task, its state store and its
XComs, is kept in files here, which are read and written at the same moments.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import random
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

RETRIES = 8

#: Where a try can be killed. Only a task that keeps a record, or that defers, reaches the last ones.
POINTS = (
    "before the POST",
    "POST on the wire",
    "after the answer",
    "before the XCom",
    "after the XCom",
    "before the end",
    "before the intent",
    "after the intent",
    "before the record",
    "after the record",
    "while listing",
    "before deferring",
    "while resuming",
)

#: Seconds within which a try is killed at any time.
LONGEST_TRY = 0.6

#: Seconds; no try takes that long.
HUNG = 60.0


@dataclass(frozen=True, slots=True)
class Disruption:
    """What interrupts one try.

    :param kill_at: one of ``POINTS``.
    :param kill_after: seconds.
    :param fault: a fault of the service, in the terms of the subject.
    """

    kill_at: str | None = None
    kill_after: float | None = None
    fault: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended: ``killed``, ``success``, ``error``, ``refused`` (no retry), or ``deferred``."""

    how: str
    value: Any = None


@dataclass(slots=True)
class Counts:
    """The results of some runs.

    :param uncertain: runs that ended with SubmissionUncertainError.
    """

    runs: int = 0
    kills: int = 0
    jobs: int = 0
    duplicates: int = 0
    losses: int = 0
    uncertain: int = 0
    failures: list[str] = field(default_factory=list)


class Subject(Protocol):
    """A service, and an operator that submits to it."""

    name: str
    faults: ClassVar[list[Mapping[str, Any]]]

    def start_run(self, run: int) -> None:
        """Start a run without any jobs in the service."""

    def fault(self, fault: Mapping[str, Any] | None) -> None:
        """Inject a fault into the service, or remove it."""

    def execute(self, context: dict[str, Any], run: int) -> Any:
        """Run the operator in a separate process."""

    def resume(self, context: dict[str, Any], run: int, event: Any) -> Any:
        """Resume after a deferral in a separate process."""

    def wait(self, deferred: Any) -> Any:
        """Wait as the triggerer does, and return the event."""

    def jobs(self) -> list[str]:
        """Return the jobs of the run that did not fail."""

    def all_jobs(self) -> int:
        """Return how many jobs the run created."""

    def pushed_job(self, xcoms: Mapping[str, Any], value: Any) -> str | None:
        """Return the job that a successful run pushed; None if the pushed export is missing or incomplete."""


class _Store:
    """Airflow's task state store, in a file."""

    def __init__(self, path: Path, reach: Callable[[str], None]) -> None:
        self._path = path
        self._reach = reach

    def get(self, key: str, default: Any = None) -> Any:
        return _read(self._path).get(key, default)

    def set(self, key: str, value: Any) -> None:
        what = "record" if value.get("job_id") else "intent"
        self._reach(f"before the {what}")
        _write(self._path, {**_read(self._path), key: value})
        self._reach(f"after the {what}")

    def delete(self, key: str) -> None:
        values = _read(self._path)
        values.pop(key, None)
        _write(self._path, values)


def one_run(subject: Subject, run: int, disruptions: list[Disruption], folder: Path, counts: Counts) -> None:
    """Run a task until it succeeds: the first tries with disruptions, the others without."""
    store, xcoms = folder / "store.json", folder / "xcoms.json"
    for path in (store, xcoms):
        path.unlink(missing_ok=True)
    subject.start_run(run)
    outcome = Outcome("error")
    for number in range(1, RETRIES + 2):
        disruption = disruptions[number - 1] if number <= len(disruptions) else Disruption()
        subject.fault(disruption.fault)
        # Airflow clears the XComs of a task at the start of each try.
        _write(xcoms, {})
        outcome = _one_try(subject, run, number, disruption, store, xcoms, counts)
        subject.fault(None)
        if outcome.how in ("success", "refused"):
            break
    counts.runs += 1
    counts.jobs += subject.all_jobs()
    jobs = subject.jobs()
    counts.duplicates += max(0, len(jobs) - 1)
    if outcome.how == "refused" and "SubmissionUncertainError" in outcome.value:
        counts.uncertain += 1
    elif outcome.how != "success" or subject.pushed_job(_read(xcoms), outcome.value) not in jobs:
        counts.losses += 1
    if len(jobs) > 1 or (outcome.how != "success" and "SubmissionUncertainError" not in str(outcome.value)):
        counts.failures.append(f"run {run}: {disruptions} ended with {outcome}, jobs {jobs}")


def _one_try(
    subject: Subject, run: int, number: int, disruption: Disruption, store: Path, xcoms: Path, counts: Counts
) -> Outcome:
    def body(reach: Callable[[str], None], resumed: Any) -> Any:
        ti = SimpleNamespace(
            dag_id=f"chaos-{run}",
            task_id="export",
            run_id=f"run-{run}",
            map_index=-1,
            try_number=number,
            max_tries=RETRIES,
        )

        def xcom_push(key: str, value: Any) -> None:
            reach("before the XCom")
            _write(xcoms, {**_read(xcoms), key: value})
            reach("after the XCom")

        ti.xcom_push = xcom_push
        ti.xcom_pull = lambda *, key, **_: _read(xcoms)[key]
        context = {"ti": ti, "task_state_store": _Store(store, reach)}
        _watch_requests(reach, disruption)
        if resumed is None:
            value = subject.execute(context, run)
        else:
            reach("while resuming")
            value = subject.resume(context, run, resumed)
        reach("before the end")
        return value

    outcome = _run_in_process(body, None, disruption)
    if outcome.how == "deferred":
        deferred = outcome.value
        event = _run_in_process(lambda _reach, _resumed: subject.wait(deferred), None, Disruption())
        outcome = _run_in_process(body, event.value, disruption)
    counts.kills += outcome.how == "killed"
    return outcome


def _run_in_process(body: Callable[[Callable[[str], None], Any], Any], resumed: Any, disruption: Disruption) -> Outcome:
    """Run one try in a child of this process, which has already imported everything."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        status = 1
        try:
            _quiet()
            if disruption.kill_after is not None:
                threading.Timer(disruption.kill_after, _kill_myself).start()
            os.write(writable, json.dumps(_run_body(body, resumed, disruption)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        if not select.select([pipe], [], [], HUNG)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return Outcome("error", f"it did not end within {HUNG} s")
        output = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Outcome("killed")
    assert status == 0, f"a try ended with {status}"
    return Outcome(*json.loads(output))


def _run_body(
    body: Callable[[Callable[[str], None], Any], Any], resumed: Any, disruption: Disruption
) -> tuple[str, Any]:
    from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

    def reach(point: str) -> None:
        assert point in POINTS, point
        if point == disruption.kill_at:
            _kill_myself()

    try:
        return "success", body(reach, resumed)
    except TaskDeferred as deferred:
        reach("before deferring")
        return "deferred", deferred.trigger.serialize()
    except AirflowFailException as error:
        return "refused", f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the task is retried after every error
        return "error", f"{type(error).__name__}: {error}"


def _watch_requests(reach: Callable[[str], None], disruption: Disruption) -> None:
    import requests

    send = requests.Session.send

    def watched(session: Any, request: Any, **options: Any) -> Any:
        if request.method != "POST":
            reach("while listing")
            return send(session, request, **options)
        reach("before the POST")
        if disruption.kill_at == "POST on the wire":
            threading.Timer(0.05, _kill_myself).start()
        answer = send(session, request, **options)
        reach("after the answer")
        return answer

    requests.Session.send = watched  # type: ignore[assignment,method-assign]


def import_all(*modules: str) -> None:
    """Import what a try needs, so that its process inherits it."""
    for module in modules:
        importlib.import_module(module)


def choose_disruptions(subject: Subject, points: tuple[str, ...], dice: random.Random) -> list[Disruption]:
    """Return the disruptions of the first tries of a run."""

    def one() -> Disruption:
        kind = dice.choice(("point", "time", "fault", "fault and point", "fault and time"))
        point = dice.choice(points)
        return Disruption(
            kill_at=point if "point" in kind else None,
            kill_after=dice.uniform(0.0, LONGEST_TRY) if "time" in kind else None,
            fault=dice.choice(subject.faults) if "fault" in kind or point == "POST on the wire" else None,
        )

    return [one() for _ in range(dice.randint(1, 4))]


def chaos(subject: Subject, points: tuple[str, ...], kills: int, seed: int, folder: Path) -> Counts:
    """Run until so many tries were killed."""
    dice = random.Random(seed)
    counts = Counts()
    while counts.kills < kills:
        one_run(subject, counts.runs + 1, choose_disruptions(subject, points, dice), folder, counts)
    return counts


def _quiet() -> None:
    logging.disable(logging.CRITICAL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _write(path: Path, values: Mapping[str, Any]) -> None:
    # Completely or not at all, like a row.
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(values))
    unfinished.replace(path)
