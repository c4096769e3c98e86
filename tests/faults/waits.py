"""Wait for many jobs while requests, keys, the metadata database, the poller, and the triggerer fail, and count.

The waits run in Airflow's real triggerer loop (``tests.faults.triggerer``), and some more as sensors and blocking waits
in threads, as workers run them. Each wait has its own job, and the sandbox knows how and when it ended. The plan of a
run depends on its seed and scale only.

* **lost**: no event by the deadline, or a timeout although the job had ended.
* **wrong**: the event contradicts the sandbox: Done too early, the wrong end, another job's record, or an error that
  has nothing to do with the job.
* **late**: the event arrived later after the job's end than the poll interval, the lengths of the faults meanwhile, and
  a margin.

In a worker, a read of the connection waits until the metadata database is back, as Airflow's client retries it there.
In the triggerer it fails, as Airflow's supervisor reports it.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from airflow_provider_cordial.client.job import Job, parse_ids
from airflow_provider_cordial.exceptions import CordialError, JobFailedError, JobTimeoutError
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.jobs.blocking import wait_for_job
from airflow_provider_cordial.jobs.events import parse_event
from airflow_provider_cordial.sensors.job import JobSensor
from cordial_sandbox.process import SandboxProcess
from tests.faults.proxy import Fault, FaultProxy, RequestKind
from tests.faults.triggerer import Triggerer

if TYPE_CHECKING:
    from aiohttp import web

CONN_ID = "cordial_default"

JOB_TRIGGER = "airflow_provider_cordial.triggers.job.JobTrigger"

#: Keys of the account, one after another.
KEYS = ("first-key-of-the-account", "second-key-of-the-account", "third-key-of-the-account")

#: Seconds that an event may need in addition: the triggerer sends events once a second, and the machine is shared.
MARGIN = 4.0

#: Seconds after its deadline in which a wait may still end: the final poll has its own timeout.
DEADLINE_GRACE = 30.0

_LIMITED = b'{"errorKey": "RATE_LIMIT", "message": "Too many requests."}'


def _everywhere(fault: Fault) -> Mapping[RequestKind, Fault]:
    return {"list_jobs": fault, "get_job": fault}


#: What happens to requests during a fault.
REQUEST_FAULTS: Mapping[str, Mapping[RequestKind, Fault]] = {
    "list drips": {"list_jobs": Fault("drip")},
    "lookups drip": {"get_job": Fault("drip")},
    "429, Retry-After": _everywhere(Fault("answer", status=429, headers={"Retry-After": "2"}, body=_LIMITED)),
    "429, no header": _everywhere(Fault("answer", status=429, body=_LIMITED)),
    "firewall 403": _everywhere(Fault("answer", status=403)),
    "firewall 503": _everywhere(Fault("answer", status=503)),
    "redirect 307": _everywhere(Fault("answer", status=307, headers={"Location": "https://login.example/"})),
    "missing page 404": _everywhere(Fault("answer", status=404)),
    "gzip": _everywhere(Fault("gzip")),
    "truncated": _everywhere(Fault("truncate")),
    "dropped": _everywhere(Fault("drop")),
}

ROTATED, DATABASE_AWAY, TRIGGERER_KILLED = "key rotated", "database away", "triggerer killed"
POLLER_ENDS: Mapping[str, str] = {"poller cancelled": "cancelled", "poller crashed": "crashed"}

#: All faults, in the order in which they are reported.
FAULTS = (*REQUEST_FAULTS, ROTATED, DATABASE_AWAY, *POLLER_ENDS, TRIGGERER_KILLED)

Mode = Literal["poke", "reschedule", "blocking"]
MODES: tuple[Mode, ...] = ("poke", "reschedule", "blocking")


@dataclass(frozen=True, slots=True)
class Scale:
    """How long a run is.

    :param lengths: seconds of each fault of ``REQUEST_FAULTS``, give or take a fifth.
    :param lag: seconds between the rotation of a key in Cordial and in Airflow.
    :param away: seconds without the metadata database.
    :param pause: seconds between two faults, give or take a half.
    :param last: faults that come after all others, as they slow down the requests for some time.
    :param tail: seconds between the last job's end and the deadline of all waits.
    :param workers: waits per mode in workers.
    :param extra: of the Airflow connection.
    """

    poll_interval: float
    lengths: Mapping[str, float]
    lag: float
    away: float
    pause: float
    last: tuple[str, ...]
    tail: float
    workers: int
    extra: Mapping[str, Any] = field(default_factory=dict)


FULL = Scale(
    poll_interval=5.0,
    lengths={
        **dict.fromkeys(REQUEST_FAULTS, 8.0),
        "429, Retry-After": 40.0,
        "429, no header": 40.0,
        "list drips": 20.0,
    },
    lag=4.0,
    away=5.0,
    pause=3.0,
    last=("429, no header",),
    tail=120.0,
    workers=4,
)

#: For the gate.
SMALL = Scale(
    poll_interval=1.0,
    lengths={**dict.fromkeys(REQUEST_FAULTS, 1.0), "429, Retry-After": 2.0, "429, no header": 2.5},
    lag=1.0,
    away=1.5,
    pause=0.3,
    last=("429, Retry-After", "429, no header"),
    tail=20.0,
    workers=1,
    extra={"connect_timeout": 1, "read_timeout": 1.5},
)


@dataclass(frozen=True, slots=True)
class Phase:
    """A fault, and when it is active; in seconds since the start of the waits."""

    fault: str
    start: float
    seconds: float

    @property
    def end(self) -> float:
        return self.start + self.seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that happens in a run; in seconds since the start of the waits.

    :param waits: the waits in the triggerer.
    :param phases: in the order of their starts; different kinds of faults can be active at once.
    :param failures: when jobs that end are Failed instead of Done.
    :param seconds: when the last job ends.
    :param workers: the number of the job and the mode of each wait in a worker.
    """

    seed: int
    waits: int
    scale: Scale
    phases: tuple[Phase, ...]
    failures: tuple[tuple[float, float], ...]
    seconds: float
    workers: tuple[tuple[int, Mode], ...]

    @property
    def jobs(self) -> int:
        return self.waits + len(self.workers)


def draw_plan(waits: int, seed: int, scale: Scale, faults: Sequence[str] = FAULTS) -> Plan:
    """Return the plan of a run; the same for the same arguments."""
    dice = random.Random(seed)
    phases: list[Phase] = []
    now = scale.away
    shuffled = sorted(dice.sample(list(REQUEST_FAULTS), len(REQUEST_FAULTS)), key=scale.last.__contains__)
    for fault in shuffled:
        now += scale.pause * dice.uniform(0.5, 1.5)
        phases.append(Phase(fault, now, scale.lengths[fault] * dice.uniform(0.8, 1.2)))
        now = phases[-1].end
    seconds = now + scale.pause
    early, late = (seconds * dice.uniform(*share) for share in ((0.1, 0.4), (0.5, 0.8)))
    phases += [Phase(ROTATED, early, scale.lag), Phase(ROTATED, late, scale.lag)]
    # At the start, and when the second new key is needed.
    phases += [Phase(DATABASE_AWAY, moment, scale.away) for moment in (0.0, late)]
    instants = (*POLLER_ENDS, TRIGGERER_KILLED)
    phases += [Phase(fault, seconds * dice.uniform(0.1, 0.8), 0.0) for fault in instants]
    failures = [(start, start + 0.08 * seconds) for start in (seconds * dice.uniform(0.05, 0.85) for _ in range(2))]
    count = len(MODES) * scale.workers
    numbers = dice.sample(range(waits + count), count)
    return Plan(
        seed,
        waits,
        scale,
        tuple(sorted((phase for phase in phases if phase.fault in faults), key=lambda phase: phase.start)),
        tuple(sorted(failures)),
        seconds,
        tuple((number, MODES[place % len(MODES)]) for place, number in enumerate(numbers)),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wait ended.

    :param result: the Done job, or the error.
    :param at: seconds since the epoch.
    """

    result: Job | Exception
    at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the outcome of a wait, if anything.

    :param delay: seconds from the job's end to the event.
    """

    kind: Literal["right", "lost", "wrong"]
    reason: str = ""
    delay: float = 0.0


def judge(outcome: Outcome | None, truth: Mapping[str, Any]) -> Verdict:
    """Compare the outcome of a wait with what the sandbox knows about its job.

    :param outcome: None if the wait did not end.
    :param truth: the job as the sandbox's control API describes it.
    """
    if outcome is None:
        return Verdict("lost", "no event by the deadline")
    result, ended_at = outcome.result, truth["ended_at"]
    error = type(result).__name__
    if isinstance(result, JobTimeoutError):
        return Verdict("lost", f"{error} although the job is {truth['status']}") if ended_at else Verdict("right")
    job = result if isinstance(result, Job) else getattr(result, "job", None)
    if job is None or not isinstance(result, Job | JobFailedError):
        return Verdict("wrong", f"{error} although the job is {truth['status']}: {result}")
    if {job.id, *parse_ids(job.record)} != {truth["id"]}:
        return Verdict("wrong", f"the record of another job, {parse_ids(job.record)}")
    if job.status != truth["status"] or job.is_done is not isinstance(result, Job):
        return Verdict("wrong", f"{job.status} although the job is {truth['status']}")
    if ended_at is None or outcome.at < ended_at:
        return Verdict("wrong", f"{job.status} before the job ended")
    return Verdict("right", delay=outcome.at - ended_at)


@dataclass(slots=True)
class Tally:
    """The waits whose job ended, or whose event was expected, while a fault was active.

    :param phases: how often the fault was active.
    :param seconds: for how long.
    :param hits: the requests, reads of the connection, or processes that it affected.
    """

    phases: int = 0
    seconds: float = 0.0
    hits: int = 0
    waits: int = 0
    lost: int = 0
    late: int = 0
    wrong: int = 0


@dataclass(slots=True)
class Counts:
    """The result of a run.

    :param largest_delay: seconds from a job's end to the event, at most.
    :param largest_lateness: seconds beyond the allowed delay, at most.
    :param tallies: per fault; a wait can belong to several.
    :param failures: one line per lost or wrong wait.
    """

    waits: int = 0
    lost: int = 0
    late: int = 0
    wrong: int = 0
    largest_delay: float = 0.0
    largest_lateness: float = 0.0
    seconds: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, verdict: Verdict, lateness: float, faults: Sequence[str]) -> None:
        """Count a wait.

        :param lateness: seconds beyond the allowed delay.
        :param faults: the faults that were active while it should have ended.
        """
        is_late = verdict.kind == "right" and lateness > 0
        self.largest_delay = max(self.largest_delay, verdict.delay)
        self.largest_lateness = max(self.largest_lateness, lateness)
        tallies: list[Counts | Tally] = [self, *(self.tallies.setdefault(fault, Tally()) for fault in faults)]
        for counted in tallies:
            counted.waits += 1
            counted.lost += verdict.kind == "lost"
            counted.wrong += verdict.kind == "wrong"
            counted.late += is_late
        if verdict.kind != "right":
            self.failures.append(f"{name}: {verdict.kind}, {verdict.reason} (faults: {', '.join(faults) or 'none'})")


class KeyProxy(FaultProxy):
    """A fault proxy in front of an account whose API key can be rotated.

    :param api_key: the sandbox's own key, which cannot change.
    """

    def __init__(self, upstream: str, api_key: str) -> None:
        super().__init__(upstream)
        self.accepted_key = KEYS[0]
        self.rejections = 0
        self._api_key = api_key

    async def _forward(self, request: web.Request) -> tuple[int, bytes]:
        if request.headers.get("Authorization") != _authorization(self.accepted_key):
            self.rejections += 1
            return 401, b'{"error": "Access Denied: Authentication Failure"}'
        headers = {**request.headers, "Authorization": _authorization(self._api_key)}
        return await super()._forward(request.clone(headers=headers))


def _authorization(api_key: str) -> str:
    return f"Basic {base64.b64encode(f'{api_key}:'.encode()).decode()}"


class Run:
    """One run of a plan.

    :param folder: for logs.
    :param triggers: the classes of the triggers, one after another.
    """

    def __init__(self, plan: Plan, sandbox: SandboxProcess, folder: Path, triggers: Sequence[str]) -> None:
        self._plan = plan
        self._control = sandbox.control
        self._proxy = KeyProxy(sandbox.url, sandbox.api_key)
        self._triggerer = Triggerer(folder / "triggerer.log", self._read_connection_in_triggerer)
        self._triggers = triggers
        self._started = 0.0
        self._hits: Counter[str] = Counter()
        self._phases = list(plan.phases)
        self._airflow_key = KEYS[0]
        self._outcomes: dict[str, Outcome] = {}

    def execute(self) -> Counts:
        """Run the plan, and count."""
        plan = self._plan
        with self._proxy, self._triggerer, self._worker_connection():
            step = plan.seconds / plan.jobs
            job_ids = self._control.add_jobs(plan.jobs, shortest=step, longest=plan.seconds)
            self._started = time.time()
            self._proxy.disrupt(self._choose)
            deadline = self._started + plan.seconds + plan.scale.tail
            modes = {job_ids[number]: mode for number, mode in plan.workers}
            in_triggerer = [job_id for job_id in job_ids if job_id not in modes]
            for number, job_id in enumerate(in_triggerer):
                arguments = {
                    "cordial_conn_id": CONN_ID,
                    "job_id": job_id,
                    "poll_interval": plan.scale.poll_interval,
                    "deadline": deadline,
                }
                self._triggerer.add(number, self._triggers[number % len(self._triggers)], arguments)
            workers = [
                threading.Thread(target=self._work, args=[job_id, mode, deadline], daemon=True)
                for job_id, mode in modes.items()
            ]
            for worker in workers:
                worker.start()
            for moment, action in sorted(self._actions(), key=lambda entry: entry[0]):
                time.sleep(max(0.0, self._started + moment - time.time()))
                action()
            last = deadline + DEADLINE_GRACE
            while time.time() < last and not self._have_ended(in_triggerer, workers):
                time.sleep(0.2)
            self._collect(in_triggerer)
            return self._count(job_ids, modes)

    def _have_ended(self, in_triggerer: Sequence[str], workers: Sequence[threading.Thread]) -> bool:
        fired = sum(number in self._triggerer.fired for number in range(len(in_triggerer)))
        return fired == len(in_triggerer) and not any(worker.is_alive() for worker in workers)

    def _actions(self) -> Iterator[tuple[float, Callable[[], object]]]:
        """Yield what happens to anything but requests, and when."""
        for start, end in self._plan.failures:
            yield start, lambda: self._control.behaviour(job_fails_with="Login failed.")
            yield end, lambda: self._control.behaviour(job_fails_with=None)
        yield self._plan.seconds, lambda: None
        keys = iter(KEYS[1:])
        for place, phase in enumerate(self._plan.phases):
            if phase.fault == ROTATED:
                key = next(keys)
                yield phase.start, lambda key=key: self._rotate(key)  # type: ignore[misc]
                yield phase.end, lambda key=key: self._set_airflow_key(key)  # type: ignore[misc]
            elif phase.fault in POLLER_ENDS:
                yield phase.start, lambda place=place: self._end_poller(place)  # type: ignore[misc]
            elif phase.fault == TRIGGERER_KILLED:
                yield phase.start, lambda place=place: self._restart_triggerer(place)  # type: ignore[misc]

    def _rotate(self, key: str) -> None:
        self._proxy.accepted_key = key

    def _set_airflow_key(self, key: str) -> None:
        self._airflow_key = key

    def _end_poller(self, place: int) -> None:
        how = POLLER_ENDS[self._phases[place].fault]
        self._triggerer.add(self._plan.jobs + place, "tests.faults.triggerer.PollerKiller", {"how": how})

    def _restart_triggerer(self, place: int) -> None:
        self._triggerer.kill()
        self._hits[TRIGGERER_KILLED] += 1
        self._triggerer.start()
        self._phases[place] = replace(self._phases[place], seconds=self._now - self._phases[place].start)

    @property
    def _now(self) -> float:
        return time.time() - self._started

    def _choose(self, kind: RequestKind) -> Fault | None:
        now = self._now
        for phase in self._plan.phases:
            if phase.start <= now < phase.end and (fault := REQUEST_FAULTS.get(phase.fault, {}).get(kind)):
                self._hits[phase.fault] += 1
                return fault
        return None

    def _is_database_away(self) -> bool:
        now = self._now
        return any(phase.fault == DATABASE_AWAY and phase.start <= now < phase.end for phase in self._plan.phases)

    def _read_connection_in_triggerer(self) -> Mapping[str, Any] | None:
        if self._is_database_away():
            self._hits[DATABASE_AWAY] += 1
            return None
        fields = self._connection_fields()
        return {**fields, "extra": json.dumps(fields["extra"])}

    def _connection_fields(self) -> dict[str, Any]:
        return {
            "conn_type": "cordial",
            "host": self._proxy.url,
            "password": self._airflow_key,
            "extra": dict(self._plan.scale.extra),
        }

    @contextmanager
    def _worker_connection(self) -> Iterator[None]:
        """Let workers read the same connection as the triggerer."""
        from airflow.sdk import Connection

        def read(conn_id: str) -> Any:
            while self._is_database_away():
                time.sleep(0.1)
            fields = self._connection_fields()
            return Connection(conn_id=conn_id, **{**fields, "extra": json.dumps(fields["extra"])})

        with mock.patch.object(CordialHook, "get_connection", staticmethod(read)):
            yield

    def _work(self, job_id: str, mode: Mode, deadline: float) -> None:
        """Wait in a worker."""
        result: Job | Exception
        try:
            result = self._wait_in_worker(job_id, mode, deadline)
        except Exception as error:  # noqa: BLE001 - any error is the outcome
            result = error
        self._outcomes[job_id] = Outcome(result, time.time())

    def _wait_in_worker(self, job_id: str, mode: Mode, deadline: float) -> Job:
        interval = self._plan.scale.poll_interval
        if mode == "blocking":
            hook = CordialHook(CONN_ID)
            return wait_for_job(hook, job_id, poll_interval=interval, deadline=deadline, log=hook.log)
        from airflow.sdk.exceptions import AirflowRescheduleException

        # In reschedule mode it counts from the first poll.
        timeout = deadline - time.time()
        first: datetime | None = None
        while True:
            sensor = JobSensor(task_id="wait", job_id=job_id, mode=mode, poke_interval=interval, timeout=timeout)
            ti = SimpleNamespace(
                get_first_reschedule_date=lambda _, first=first: first, xcom_push=lambda **_pushed: None
            )
            try:
                return Job.from_record(sensor.execute({"ti": ti}), job_id)  # type: ignore[typeddict-item]
            except AirflowRescheduleException as later:
                first = first or datetime.now(UTC)
                time.sleep(max(0.0, (later.reschedule_date - datetime.now(UTC)).total_seconds()))

    def _collect(self, in_triggerer: Sequence[str]) -> None:
        """Interpret the events of the triggerer as the resumed tasks do."""
        for number, job_id in enumerate(in_triggerer):
            fired = self._triggerer.fired.get(number)
            if fired and fired.payload is not None:
                try:
                    result: Job | Exception = parse_event(fired.payload, job_id)
                except CordialError as error:
                    result = error
                self._outcomes[job_id] = Outcome(result, fired.at)
        for place, phase in enumerate(self._plan.phases):
            if phase.fault in POLLER_ENDS and (fired := self._triggerer.fired.get(self._plan.jobs + place)):
                self._hits[phase.fault] += fired.payload or 0

    def _count(self, job_ids: Sequence[str], modes: Mapping[str, Mode]) -> Counts:
        counts = Counts(seconds=self._now, tallies={fault: Tally() for fault in FAULTS})
        for phase in self._phases:
            tally = counts.tallies[phase.fault]
            tally.phases += 1
            tally.seconds += phase.seconds
        for fault, hits in {**self._hits, ROTATED: self._proxy.rejections}.items():
            counts.tallies[fault].hits = hits
        truths = {job["id"]: job for job in self._control.jobs()}
        for number, job_id in enumerate(job_ids):
            outcome, truth = self._outcomes.get(job_id), truths[job_id]
            verdict = judge(outcome, truth)
            at = outcome.at - self._started if outcome else counts.seconds
            ended = min(at, (truth["ended_at"] or self._started) - self._started)
            # An error may end a wait long before or after the end of its job.
            active = self._active(ended if verdict.kind == "right" else at - self._plan.scale.poll_interval, at)
            allowed = self._plan.scale.poll_interval + sum(phase.seconds for phase in active) + MARGIN
            name = f"wait {number} ({modes.get(job_id, 'triggerer')}), job {job_id}, ended at {ended:.1f} s"
            counts.add(name, verdict, verdict.delay - allowed, sorted({phase.fault for phase in active}))
        return counts

    def _active(self, start: float, end: float) -> list[Phase]:
        return [phase for phase in self._phases if phase.start <= end and phase.end >= start]


def run(plan: Plan, sandbox: SandboxProcess, folder: Path, triggers: Sequence[str] = (JOB_TRIGGER,)) -> Counts:
    """Run a plan on an empty sandbox, and count."""
    return Run(plan, sandbox, folder, triggers).execute()
