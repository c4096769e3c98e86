"""Submit an export once: a retry finds the job of the try before, and a clear makes a new one.

Cordial has no idempotency key and no cancel, so a POST that is repeated is a second job and a second file. Three things
keep that from happening:

* the identity of a submission: dag, task, map index, run, what is asked for, and Airflow's ``max_tries``, which a clear
  raises and a retry does not;
* a record of it in Airflow's task state store (3.3 and later): an intent before the POST, and the job id after it;
* the export's name, which carries the identity, so that a job whose id was never heard of is found in the list of jobs.

What to do next is ``decide``, which does no I/O; ``submit`` does what it says, until there is a job.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    CordialError,
    PermissionDeniedError,
    RateLimitError,
    RefusedError,
    SubmissionUncertainError,
    TransientError,
)
from airflow_provider_cordial.exports.export import Export, SubmittedExport
from airflow_provider_cordial.jobs import Job
from airflow_provider_cordial.waiting import look_at

if TYPE_CHECKING:
    from airflow_provider_cordial.hooks.cordial import CordialHook

log = logging.getLogger(__name__)

#: The key in the task state store.
STATE_KEY = "cordial_submission"

#: How long a job may take to be in the list, in seconds.
SETTLING_TIME = 120.0

#: How often one try sends an export whose POST turned out not to have arrived.
MAX_SENDINGS = 3

#: Cordial's clock may be behind ours.
CLOCK_SKEW = timedelta(minutes=5)

#: How often the list is read until then.
LOOKS_WHILE_SETTLING = 12

_SLUG_LENGTH = 40
_DIGEST_LENGTH = 12

OnUncertainSubmission = Literal["fail", "resubmit"]


class StateStore(Protocol):
    """What of Airflow's task state store is used; what is set in it outlives the process."""

    def get(self, key: str, default: Any = None) -> Any: ...
    def set(self, key: str, value: Any) -> None: ...
    def delete(self, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a submission another one.

    :param digest: of dag, task, map index, run, ``max_tries`` and what is asked for.
    :param names_the_run: whether the export's name is of this run alone: a job of that name is ours then.
    """

    digest: str
    names_the_run: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """A submission as the task state store keeps it.

    :param generation: 1, and one more each time the job of the one before Failed: each has a name of its own.
    :param intended_at: a moment before the POST.
    :param job_id: what the POST answered; None as long as no answer was recorded.
    """

    digest: str
    generation: int
    intended_at: datetime
    job_id: str | None = None

    @classmethod
    def from_json(cls, value: Any) -> Record | None:
        """Return the record that ``to_json`` made, or None if it is none."""
        try:
            intended_at = datetime.fromisoformat(value["intended_at"])
            return cls(str(value["digest"]), int(value["generation"]), intended_at, value["job_id"])
        except (KeyError, TypeError, ValueError):
            return None

    def to_json(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "generation": self.generation,
            "intended_at": self.intended_at.isoformat(),
            "job_id": self.job_id,
        }


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of a submission.

    :param name: the export's name in the first generation.
    :param names_the_run: whether a job of that name must be this submission's.
    :param record: of this submission.
    :param has_store: whether there is a task state store; without one, no record does not mean that nothing was sent.
    :param try_number: of the task.
    :param job: the recorded job, or the error that a look at it came to.
    :param jobs: the account's jobs, as far as they were listed, or the error that refused the list.
    :param is_settled: whether a job that was submitted must be in the list by now.
    """

    name: str
    names_the_run: bool
    has_store: bool
    try_number: int
    record: Record | None = None
    job: Job | CordialError | None = None
    jobs: Sequence[Job] | CordialError | None = None
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send the export, under the name of a generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class LookAtJob:
    """Look at the recorded job: it may have Failed."""

    job_id: str


@dataclass(frozen=True, slots=True)
class ListJobs:
    """Look for the job in the list."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It is not in the list, but may still come."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """It is in the list: record its id.

    :param started_at: None if it has not started, as far as is known.
    """

    job_id: str
    generation: int
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """Go on with the recorded job."""

    record: Record


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Whether there is a job of that generation cannot be told."""

    why: str
    generation: int


Step = Send | LookAtJob | ListJobs | Wait | Adopt | Use | Uncertain


def decide(known: Known) -> Step:
    """Return what to do next, from what is known."""
    record = known.record
    if record is None and (known.has_store or known.try_number <= 1):
        return Send(1)
    if record is not None and record.job_id is not None:
        if known.job is None:
            return LookAtJob(record.job_id)
        if isinstance(known.job, Job) and known.job.is_failed:
            return Send(record.generation + 1)
        return Use(record)
    # There is an intent without an answer, or nowhere to have kept one.
    if known.jobs is None:
        return ListJobs()
    if isinstance(known.jobs, CordialError):
        return Uncertain(f"the list of jobs cannot be read: {known.jobs}", record.generation if record else 1)
    return _decide_by_the_list(known, known.jobs)


def _decide_by_the_list(known: Known, jobs: Sequence[Job]) -> Step:
    since = known.record.intended_at - CLOCK_SKEW if known.record else None
    # A job that started before the intent is another run's, if its name does not say so already.
    recent = [job for job in jobs if not _started_before(job, since)]
    candidates = jobs if known.names_the_run else recent
    named = [(number, job) for job in candidates if (number := generation_of(job.name, known.name))]
    newest = known.record.generation if known.record else max((number for number, _ in named), default=1)
    ours = {job.id: job for number, job in named if number == newest}
    if len(ours) > 1:
        return Uncertain(f"{len(ours)} jobs have its name", newest)
    for job_id, job in ours.items():
        if not job_id:
            return Uncertain("a job has its name, but the list does not tell the job's id", newest)
        if not known.names_the_run:
            return Uncertain(f"job {job_id} has its name, but so have the exports of other runs", newest)
        return Adopt(job_id, newest, job.started_at)
    if not known.is_settled:
        return Wait()
    if unnamed := [job for job in recent if job.name is None and job.may_be_export]:
        return Uncertain(f"{len(unnamed)} jobs in the list have no name, and any of them may be it", newest)
    return Send(newest)


def _started_before(job: Job, moment: datetime | None) -> bool:
    return moment is not None and job.started_at is not None and job.started_at < moment


def submit(
    hook: CordialHook,
    export: Export,
    identity: Identity,
    *,
    store: StateStore | None,
    try_number: int,
    settling_time: float = SETTLING_TIME,
    on_uncertain: OnUncertainSubmission = "fail",
) -> SubmittedExport:
    """Submit an export, or find the job that an earlier try submitted, and return it with its job id.

    The destination's Airflow connection is read here, at the moment of the POST, and nowhere before. Killed anywhere,
    the next call with the same identity goes on with what was reached.

    :param export: its name is that of the first generation.
    :param store: the task state store, where Airflow has one.
    :param settling_time: seconds after the end of a POST by which its job must be in the list.
    :param on_uncertain: whether to send again where it cannot be told if there is a job.
    :raises SubmissionUncertainError: it cannot be told whether there is a job.
    :raises CordialError: see ``CordialHook.create_export``.
    """
    address = export.destination.address()
    record = Record.from_json(store.get(STATE_KEY)) if store else None
    if record and record.digest != identity.digest:
        log.info("The task was cleared, or asks for something else than before: it exports again")
        record = None
    known = Known(export.name, identity.names_the_run, store is not None, try_number, record)
    # Without a record it is not known when an earlier try sent; it was before now.
    since = record.intended_at if record else datetime.now(UTC)
    # From then on nothing of a POST is on its way any more, and its job has the settling time to be listed.
    over_at = min(datetime.now(UTC), since + timedelta(seconds=hook.connection.export_timeout))
    sendings = 0
    while True:
        step = decide(known)
        if isinstance(step, Uncertain):
            step = _uncertain(step, export.name, since, on_uncertain)
        if isinstance(step, Send):
            _tell_why(known, export.name, step.generation)
            sendings += 1
            since = datetime.now(UTC)
            record = Record(identity.digest, step.generation, since)
            try:
                job_id = _send(hook, _named(export, record), address.body, store, before=known.record, record=record)
            except CordialError as error:
                if sendings == MAX_SENDINGS or surely_not_accepted(error):
                    raise
                log.warning("%s Looking for it in the list of jobs.", error)
                over_at = datetime.now(UTC)
                known = replace(known, record=record, job=None, jobs=None)
            else:
                named = _named(export, record)
                log.info("Submitted export %s as job %s, to %s", named.name, job_id, address.uri)
                return SubmittedExport(named, job_id, address.uri, since)
        elif isinstance(step, LookAtJob):
            # Whoever waits for it says what is wrong; here it only matters that it has not Failed as far as we know.
            known = replace(known, job=look_at(hook, step.job_id))
        elif isinstance(step, ListJobs):
            is_settled = (datetime.now(UTC) - over_at).total_seconds() >= settling_time
            known = replace(known, jobs=_list(hook, last=is_settled), is_settled=is_settled)
        elif isinstance(step, Wait):
            log.info("Export %s is not in the list of jobs yet", export.name)
            left = settling_time - (datetime.now(UTC) - over_at).total_seconds()
            time.sleep(max(0.0, min(left, settling_time / LOOKS_WHILE_SETTLING)))
            known = replace(known, jobs=None)
        elif isinstance(step, Adopt):
            log.info("Export %s is job %s; it is not sent again", name_of(export.name, step.generation), step.job_id)
            # Without a record, what the job tells is all that says how old its file may be.
            intended_at = min(since, step.started_at or since)
            record = Record(identity.digest, step.generation, intended_at, step.job_id)
            _keep(store, record)
            known = replace(known, record=record)
        else:
            named, job_id = _named(export, step.record), str(step.record.job_id)
            log.info("Going on with job %s of export %s, to %s", job_id, named.name, address.uri)
            return SubmittedExport(named, job_id, address.uri, step.record.intended_at)


def _send(
    hook: CordialHook,
    export: Export,
    destination: Mapping[str, Any],
    store: StateStore | None,
    *,
    before: Record | None,
    record: Record,
) -> str:
    """Keep the intent, send the export, keep the job id and return it."""
    _keep(store, record)
    try:
        job_id = hook.create_export(export.kind, {**export.body(), "destination": dict(destination)})
    except CordialError as error:
        if surely_not_accepted(error):
            # As if nothing had been intended: the next try need not look for it.
            _keep(store, before)
        raise
    _keep(store, replace(record, job_id=job_id))
    return job_id


def surely_not_accepted(error: CordialError) -> bool:
    """Tell whether an error of a POST means that there is no job."""
    if isinstance(error, ConnectionFailedError):
        return not error.sent
    return isinstance(error, RefusedError | RateLimitError)


def _list(hook: CordialHook, *, last: bool) -> Sequence[Job] | CordialError:
    """Return the jobs in the list, or why it may not be read; a list that fails for now tells nothing yet.

    :param last: whether there is no other look after this one, so that its failure is one of the task.
    """
    try:
        return list(hook.list_jobs())
    except (AuthenticationError, PermissionDeniedError) as error:
        return error
    except TransientError as error:
        if last:
            raise
        log.warning("%s Looking again.", error)
        return ()


def _uncertain(step: Uncertain, name: str, since: datetime, on_uncertain: OnUncertainSubmission) -> Send:
    name = name_of(name, step.generation)
    if on_uncertain == "resubmit":
        log.warning("Whether export %s was accepted cannot be told (%s); sending again, as told", name, step.why)
        return Send(step.generation + 1)
    msg = (
        f"Whether Cordial accepted export {name} cannot be told: {step.why}. It was submitted at "
        f"{since:%Y-%m-%d %H:%M:%S %Z} or before. Look for it on Cordial's Jobs page. If it is not there, clear the "
        'task, which exports again; on_uncertain_submission="resubmit" always does.'
    )
    raise SubmissionUncertainError(msg)


def _tell_why(known: Known, name: str, generation: int) -> None:
    if isinstance(known.job, Job) and known.job.is_failed:
        text = "Job %s Failed; exporting again, as %s. All that Cordial says of it: %s"
        log.warning(text, known.job.id, name_of(name, generation), known.job.to_json())
    elif known.jobs is not None and not isinstance(known.jobs, CordialError):
        log.info("None of %d jobs is export %s: it did not arrive", len(known.jobs), name_of(name, generation))


def _keep(store: StateStore | None, record: Record | None) -> None:
    if store is None:
        return
    if record is None:
        store.delete(STATE_KEY)
    else:
        store.set(STATE_KEY, record.to_json())


def _named(export: Export, record: Record) -> Export:
    return export.named(name_of(export.name, record.generation))


def name_of(name: str, generation: int) -> str:
    """Return the name of a generation: the name itself, and then ``-2``, ``-3``."""
    return name if generation == 1 else f"{name}-{generation}"


def generation_of(job_name: str | None, name: str) -> int | None:
    """Return which generation of a name a job's name is, or None if it is of none."""
    match = re.fullmatch(rf"{re.escape(name)}(?:-([2-9]|[1-9][0-9]+))?", job_name or "")
    return int(match[1] or 1) if match else None


def identity_of(context: Mapping[str, Any], what: object, *, names_the_run: bool = True) -> Identity:
    """Return the identity of the submission of a task's run.

    :param context: the task's context.
    :param what: what is asked for, as JSON: other parameters make another submission.
    """
    ti = context["ti"]
    parts = [ti.dag_id, ti.task_id, ti.map_index, ti.run_id, getattr(ti, "max_tries", None), what]
    return Identity(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(), names_the_run)


def derived_name(context: Mapping[str, Any], identity: Identity) -> str:
    """Return a name for the export of a task's run, the same at every retry and another after a clear."""
    ti = context["ti"]
    return f"{_slug(ti.dag_id)}-{_slug(ti.task_id)}-{identity.digest[:_DIGEST_LENGTH]}"


def _slug(text: str) -> str:
    """Return a text in the letters, digits and dashes that a name may hold."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:_SLUG_LENGTH].strip("-") or "x"
