"""Kill tasks again and again, retry and clear them as Airflow does, and count the jobs of each round.

A round is the tries of a task between two clears. Each round has one job, unless it resumed the live job of the round
before. Whatever else happens is a duplicate, a loss, or the adoption of a job that is not the task's own.
"""

from __future__ import annotations

import itertools
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.chaos.interpreter import Interpreter
from tests.chaos.plan import INTERPRETERS, Plan, Step, draw_plan
from tests.chaos.tries import Files, Outcome, Try, read, write

RETRIES = 8

#: How often a person acts on one task after a ``SubmissionUncertainError``.
INTERVENTIONS = 2

#: Seconds until a request that was delayed has arrived.
LATE = 0.4

UNCERTAIN = "SubmissionUncertainError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of a service during one try.

    :param label: unique in the service.
    :param requests: in the service's own terms.
    :param behaviour: in the service's own terms.
    :param proxy: what a proxy in front of the service does.
    :param rows: how many jobs of others are added before the try.
    :param max_pages: after which a list of jobs is cut off.
    :param hides_names: whether a job does not show its name.
    :param hides_jobs: whether a live job cannot be known to be live.
    :param delays_arrival: whether a request may arrive after its try has ended.
    """

    label: str
    requests: tuple[Mapping[str, Any], ...] = ()
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    proxy: str | None = None
    rows: int = 0
    max_pages: int | None = None
    hides_names: bool = False
    hides_jobs: bool = False
    delays_arrival: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the service knows it.

    :param is_foreign: whether no task of the run submitted it.
    :param ended_at: None while it is live.
    """

    id: str
    name: str | None = None
    is_done: bool = True
    is_foreign: bool = False
    created_at: float = 0.0
    ended_at: float | None = None
    start: str | None = None
    audiences: tuple[str, ...] = ()

    @property
    def is_failed(self) -> bool:
        return self.ended_at is not None and not self.is_done


class Service(Protocol):
    """A service that an operator submits to.

    :param name: of the operator.
    :param subject: the operator's ``TaskSide``, as ``module:class``.
    :param modules: what a try imports.
    """

    name: str
    subject: str
    modules: tuple[str, ...]
    points: Sequence[str]
    faults: Mapping[str, Fault]
    is_plain: bool

    def start_run(self, plan: Plan) -> None:
        """Start a run without any jobs of its own."""

    def disrupt(self, fault: Fault | None, held_in: str | None) -> None:
        """Inject a fault, or remove all, and hold jobs in a status."""

    def settings(self, plan: Plan, index: int, fault: Fault | None) -> dict[str, Any]:
        """Return the settings of a try of one task."""

    def jobs(self) -> list[Job]:
        """Return all jobs of the moment, in the order of their creation."""

    def wait(self) -> None:
        """Wait until the jobs of the run have ended."""

    def check(self, plan: Plan, index: int, xcoms: Mapping[str, Any], outcome: Outcome, jobs: Sequence[Job]) -> str:
        """Return what is wrong with what a successful task pushed; empty if nothing is."""

    def pushed_job(self, xcoms: Mapping[str, Any]) -> str | None:
        """Return the id of the job that a try pushed."""


@dataclass(slots=True)
class Counts:
    """The results of some runs.

    :param adoptions: of jobs that are not the submission's own.
    :param uncertain: runs in which a task ended with SubmissionUncertainError.
    :param reasons: of those ends.
    :param failures: what went wrong, with the seed of each run.
    """

    runs: int = 0
    kills: int = 0
    jobs: int = 0
    duplicates: int = 0
    losses: int = 0
    adoptions: int = 0
    uncertain: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        for name in ("runs", "kills", "jobs", "duplicates", "losses", "adoptions", "uncertain"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reasons += other.reasons
        self.failures += other.failures

    @property
    def wrong(self) -> tuple[int, int, int]:
        return self.duplicates, self.losses, self.adoptions


@dataclass(frozen=True, slots=True)
class Clear:
    """A clear of a task, and the task's record at that moment."""

    time: float
    recorded_id: str | None
    recorded_name: str | None


class Lane:
    """A service and the interpreters of its tries: what runs one run at a time.

    :param folder: for what outlives a try.
    """

    def __init__(self, service: Service, interpreters: Sequence[Interpreter], folder: Path) -> None:
        self.service = service
        self.interpreters = interpreters
        self.folder = folder

    def run(self, plan: Plan) -> Counts:
        """Run a plan until its tasks have ended, and judge it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.service.start_run(plan)
        return _Run(self, plan).run()


@contextmanager
def open_lane(service: Service, folder: Path) -> Iterator[Lane]:
    with ExitStack() as stack:
        home = folder / "airflow"
        modules = (*service.modules, service.subject.partition(":")[0])
        interpreters = [stack.enter_context(Interpreter(seed, modules, home)) for seed in range(1, INTERPRETERS + 1)]
        yield Lane(service, interpreters, folder / "tries")


def chaos(lanes: Sequence[Lane], kills: int, seed: int) -> Counts:
    """Run until so many tries were killed; each run has its own seed, ``<seed>-<number>``."""
    counts, lock, numbers = Counts(), threading.Lock(), itertools.count(1)

    def work(lane: Lane) -> None:
        while True:
            with lock:
                if counts.kills >= kills:
                    return
                number = next(numbers)
            result = run_seed(lane, f"{seed}-{number}")
            with lock:
                counts.add(result)

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(work, lanes))
    return counts


def run_seed(lane: Lane, seed: str) -> Counts:
    """Repeat the run of a seed."""
    service = lane.service
    return lane.run(draw_plan(seed, service.points, list(service.faults), is_plain=service.is_plain))


class _Task:
    """A task instance as Airflow keeps it, and what the oracle has to know about it."""

    def __init__(self, index: int, steps: Sequence[Step], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.index = index
        self.folder = folder
        self.files = Files(folder)
        self.steps = list(steps)
        self.try_number = 0
        self.retries = self.max_tries = RETRIES
        self.outcome: Outcome | None = None
        self.has_ended = False
        self.clears: list[Clear] = []
        #: Rounds in which a fault hid live jobs.
        self.hidden: set[int] = set()
        self.starts: dict[int, float] = {}
        self.given: list[str] = []
        self.interventions = 0
        self.reasons: list[str] = []
        self.adoptions: list[str] = []

    @property
    def round(self) -> int:
        return len(self.clears)

    def next_step(self) -> Step:
        return self.steps.pop(0) if self.steps else Step(interpreter=self.try_number % INTERPRETERS)

    def record(self) -> Mapping[str, Any]:
        return next(iter(read(self.files.store).values()), {})

    def clear(self, *, retries_are_edited: bool = False) -> None:
        record = self.record()
        self.clears.append(Clear(time.time(), record.get("job_id"), record.get("name")))
        # An author who lowers retries by the tries so far; some must be left.
        if retries_are_edited and self.max_tries - self.try_number >= RETRIES // 2:
            self.retries = self.max_tries - self.try_number
        self.max_tries = self.try_number + self.retries


class _Run:
    def __init__(self, lane: Lane, plan: Plan) -> None:
        self._lane = lane
        self._service = lane.service
        self._plan = plan
        self._tasks = [_Task(n, steps, lane.folder / str(n)) for n, steps in enumerate(plan.steps)]
        self._clear_number = 0
        self._kills = 0

    def run(self) -> Counts:
        turns = itertools.cycle(self._plan.order)
        while running := [task for task in self._tasks if not task.has_ended]:
            turn = next(turns)
            self._advance(next((task for task in running if task.index == turn), running[0]))
        self._service.wait()
        return self._judge()

    def _advance(self, task: _Task) -> None:
        """Run the next try of a task, and do what follows it."""
        step = task.next_step()
        fault = self._service.faults[step.fault] if step.fault else None
        if fault and fault.hides_names and task.given and not self._plan.has_store:
            # Neither a record nor the job shows the name of the job that a person has named.
            fault = None
        task.try_number += 1
        task.starts.setdefault(task.round, time.time())
        if fault and fault.hides_jobs:
            task.hidden.add(task.round)
        self._service.disrupt(fault, self._plan.held_in)
        # Airflow clears the XComs of a task at the start of each try.
        write(task.files.xcoms, {})
        outcome = self._run_try(task, step, fault)
        if outcome.how == "deferred":
            if step.is_cleared_while_deferred and not task.given:
                self._check_pushed(task)
                self._service.disrupt(None, self._plan.held_in)
                self._clear(task)
                return
            # From now on the job continues.
            self._service.disrupt(fault, None)
            event = self._run_try(task, Step(interpreter=step.interpreter), fault, deferred=outcome.value)
            outcome = self._run_try(task, step, fault, event=event.value)
        self._service.disrupt(None, self._plan.held_in)
        self._kills += outcome.how == "killed"
        task.outcome = outcome
        self._check_pushed(task)
        if fault and fault.delays_arrival and self._plan.is_exact:
            # Two jobs of one name could not be attributed to their rounds.
            time.sleep(LATE)
        self._follow(task, step, outcome)

    def _run_try(self, task: _Task, step: Step, fault: Fault | None, **more: Any) -> Outcome:
        plan = self._plan
        conf: dict[str, Any] = {}
        settings = {**self._service.settings(plan, task.index, fault), "retries": task.retries}
        if task.given and plan.person == "conf":
            given = task.given[-1]
            conf = {"cordial_job_id": {"export": {str(task.index): given} if plan.is_mapped else given}}
        elif task.given:
            settings["job_id"] = task.given[-1]
        one = Try(
            subject=self._service.subject,
            settings=settings,
            folder=str(task.folder),
            run_id=f"run-{plan.seed}",
            map_index=task.index if plan.is_mapped else -1,
            try_number=task.try_number,
            max_tries=task.max_tries,
            clear_number=self._clear_number if plan.has_store else None,
            conf=conf,
            has_store=plan.has_store,
            round=task.round,
            kill_at=step.kill_at,
            kill_nth=step.kill_nth,
            kill_after=step.kill_after,
            max_pages=fault.max_pages if fault else None,
            **more,
        )
        return self._lane.interpreters[step.interpreter].run(one)

    def _follow(self, task: _Task, step: Step, outcome: Outcome) -> None:
        """Do what happens after a try: a retry, a clear, or the end."""
        # After a person has named a job, the task is only retried.
        is_cleared = step.then in ("clear", "clear, retries edited") and not task.given
        is_edited = step.then == "clear, retries edited"
        if outcome.how == "success":
            if is_cleared:
                # Only the record shows this clear, so it has to exist.
                self._clear(task, retries_are_edited=is_edited and self._plan.has_store)
            else:
                task.has_ended = True
        elif outcome.how == "refused":
            if UNCERTAIN in outcome.value:
                task.reasons.append(_reason(outcome.value))
            if UNCERTAIN in outcome.value and self._plan.person and task.interventions < INTERVENTIONS:
                self._intervene(task, retries_are_edited=is_edited)
            else:
                task.has_ended = True
        elif is_cleared and not is_edited:
            self._clear(task)
        elif step.then == "neighbor cleared":
            self._clear_number += 1
        task.has_ended |= task.try_number > task.max_tries

    def _clear(self, task: _Task, *, retries_are_edited: bool = False) -> None:
        self._clear_number += 1
        task.clear(retries_are_edited=retries_are_edited)

    def _intervene(self, task: _Task, *, retries_are_edited: bool) -> None:
        """Search for the job as a person does, name it if it exists, and clear the task."""
        task.interventions += 1
        time.sleep(LATE)
        names = {entry["post"] for entry in task.files.journal() if "post" in entry and entry["round"] == task.round}
        rounds = self._rounds(task, jobs := self._own_jobs(task, self._service.jobs()))
        found = [job for job in jobs if job.name in names and rounds[job.id] == task.round and not job.is_failed]
        task.given += [job.id for job in found[-1:]]
        self._clear(task, retries_are_edited=retries_are_edited and self._plan.has_store and bool(task.record()))

    def _check_pushed(self, task: _Task) -> None:
        """Check, after each try, that the job it pushed is the task's own and of this round."""
        pushed = self._service.pushed_job(read(task.files.xcoms))
        if pushed is None or pushed in task.given:
            return
        own = {job.id: job for job in self._own_jobs(task, self._service.jobs())}
        if pushed not in own:
            task.adoptions.append(f"try {task.try_number} took job {pushed} of another run or task")
            return
        job, first = own[pushed], self._rounds(task, list(own.values()))[pushed]
        if any(job.ended_at is not None and job.ended_at < clear.time for clear in task.clears[first:]):
            task.adoptions.append(f"try {task.try_number} took job {pushed}, which ended before the clear")
        answered = {entry["answered"] for entry in task.files.journal() if "answered" in entry}
        if self._plan.is_exact and job.name not in answered:
            task.adoptions.append(f"try {task.try_number} took job {pushed} by its exact name")

    def _own_jobs(self, task: _Task, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs that a task submitted: of a name that it sent, and of its own days."""
        names = {entry["post"] for entry in task.files.journal() if "post" in entry}
        start = self._service.settings(self._plan, task.index, None).get("start")
        return [job for job in jobs if not job.is_foreign and job.name in names and job.start == start]

    def _rounds(self, task: _Task, jobs: Sequence[Job]) -> dict[str, int]:
        """Return the round of each job: that of the last POST of its name before it was created."""
        posts = [entry for entry in task.files.journal() if "post" in entry]
        rounds = {}
        for job in jobs:
            of_name = [entry for entry in posts if entry["post"] == job.name]
            before = [entry for entry in of_name if entry["time"] <= job.created_at] or of_name[:1]
            rounds[job.id] = before[-1]["round"]
        return rounds

    # The judgment.

    def _judge(self) -> Counts:
        jobs = self._service.jobs()
        counts = Counts(runs=1, kills=self._kills, jobs=sum(not job.is_foreign for job in jobs))
        wrongs: list[str] = []
        for task in self._tasks:
            own = self._own_jobs(task, jobs)
            duplicates, loss = self._find_duplicates(task, own), self._find_loss(task, jobs)
            counts.duplicates += len(duplicates)
            counts.losses += bool(loss)
            counts.adoptions += len(task.adoptions)
            counts.reasons.update(task.reasons)
            wrongs += [
                f"task {task.index}: {wrong}" for wrong in (*duplicates, *([loss] if loss else ()), *task.adoptions)
            ]
        counts.uncertain = int(any(task.reasons for task in self._tasks))
        if wrongs:
            counts.failures.append("\n    ".join([f"run {self._plan.seed}", *wrongs, str(self._plan)]))
        return counts

    def _find_duplicates(self, task: _Task, own: Sequence[Job]) -> list[str]:
        rounds = self._rounds(task, own)
        posts = [entry for entry in task.files.journal() if "post" in entry]
        duplicates: list[str] = []
        before: Job | None = None
        for job in own:
            posted_at = max(
                (e["time"] for e in posts if e["post"] == job.name and e["time"] <= job.created_at), default=0
            )
            if before is not None:
                was_live = before.ended_at is None or before.ended_at > posted_at
                if rounds[before.id] == rounds[job.id]:
                    is_duplicate = not before.is_failed or was_live
                else:
                    is_duplicate = was_live and self._was_known(task, before, rounds[job.id])
                if is_duplicate:
                    duplicates.append(
                        f"job {job.id} ({job.name}, round {rounds[job.id]}) was created although job {before.id} "
                        f"({before.name}, round {rounds[before.id]}) {'was live' if was_live else 'was Done'}"
                    )
            if before is None or not job.is_failed or before.is_failed:
                before = job
        return duplicates

    def _was_known(self, task: _Task, job: Job, round_: int) -> bool:
        """Return whether the first try of a round could know that an earlier job was live."""
        clear = task.clears[round_ - 1]
        if not self._plan.has_store or round_ in task.hidden:
            return False
        if clear.recorded_id is not None:
            return clear.recorded_id == job.id
        is_listed = job.created_at + LATE < task.starts[round_]
        return is_listed and not self._plan.is_exact and clear.recorded_name == job.name

    def _find_loss(self, task: _Task, jobs: Sequence[Job]) -> str | None:
        outcome = task.outcome
        assert outcome is not None
        if outcome.how == "refused" and UNCERTAIN in outcome.value:
            return None
        if outcome.how != "success":
            return f"ended with {outcome}"
        xcoms = read(task.files.xcoms)
        if wrong := self._service.check(self._plan, task.index, xcoms, outcome, jobs):
            return wrong
        given = [job for job in jobs if task.given and job.id == task.given[-1] and job.is_done]
        if given and self._service.pushed_job(xcoms) != given[0].id:
            return f"job {given[0].id}, which a person had named, was not resumed"
        return None


def _reason(error: str) -> str:
    """Return why a submission is uncertain, without what differs between runs."""
    # A line per sentence, and the first one may be in two.
    error = " ".join(error.split())
    found = re.search(r"accepted export \S+: (.*?)\. It was submitted", error)
    reason = found[1] if found else error
    reason = re.sub(r"\b[0-9a-f]{24}\b", "<id>", reason)
    reason = re.sub(r"http://\S+", "<url>", reason)
    return re.sub(r"\d+", "N", reason)[:160]
