"""What to do next for a submission, given its state: a pure function and its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import CordialError, NotFoundError
from airflow_provider_cordial.exports.identity import Attempt, generation_name, parse_generation

#: Cordial's clock may be behind ours.
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Record:
    """A submission as the task state store keeps it.

    :param digest: of the identity.
    :param attempt: the first try of the submission, or the first after a clear that has resumed its job.
    :param name: the export's name in the first generation.
    :param generation: 1, plus 1 for each job before that Failed: each generation has a name of its own.
    :param intended_at: a moment before the first POST.
    :param job_id: from the answer to the POST; None until an answer was recorded.
    :param sent_at: a moment before the last POST, which may have been sent again after a 429.
    :param uri: where the file is delivered, without a secret.
    :param given_job_id: the job id that a person has provided and that a try has resumed.
    :param refused: the parts of the request that Cordial refused and that were left out.
    """

    digest: str
    attempt: Attempt
    name: str
    generation: int
    intended_at: datetime
    job_id: str | None = None
    sent_at: datetime | None = None
    uri: str | None = None
    given_job_id: str | None = None
    refused: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> Record | None:
        """Return the record that ``to_json`` serialized, or None for anything else."""
        try:
            intended_at = datetime.fromisoformat(value["intended_at"])
            sent_at = value.get("sent_at")
            return cls(
                digest=str(value["digest"]),
                attempt=Attempt(**value["attempt"]),
                name=str(value["name"]),
                generation=int(value["generation"]),
                intended_at=intended_at,
                job_id=value["job_id"],
                sent_at=datetime.fromisoformat(sent_at) if sent_at else None,
                uri=value.get("uri"),
                given_job_id=value.get("given_job_id"),
                refused=tuple(value.get("refused") or ()),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def to_json(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "attempt": asdict(self.attempt),
            "name": self.name,
            "generation": self.generation,
            "intended_at": self.intended_at.isoformat(),
            "job_id": self.job_id,
            "sent_at": self.sent_at.isoformat() if self.sent_at else None,
            "uri": self.uri,
            "given_job_id": self.given_job_id,
            "refused": list(self.refused),
        }


@dataclass(frozen=True, slots=True)
class SubmissionState:
    """Everything that is known about a submission.

    :param name: the export's name in the first generation.
    :param names_the_run: whether a job of that name must be this submission's.
    :param has_store: whether Airflow has a task state store; without one, a submission leaves no record.
    :param try_number: of the task.
    :param resubmit_if_uncertain: whether to submit again where it is unknown if Cordial accepted the export.
    :param record: of this submission.
    :param is_cleared: whether the task was cleared after the record was written.
    :param given_job_id: a job id that a person has provided and that no try has resumed yet.
    :param is_accepted: whether this try submitted the recorded job.
    :param job: the recorded job, or the error of polling it.
    :param jobs: the listed jobs of the account, or the error that rejected the list.
    :param is_settled: whether a submitted job must be known to Cordial and in its list by now.
    :param inconclusive: why a job that is not among the listed ones may exist all the same; None if it cannot.
    """

    name: str
    names_the_run: bool
    has_store: bool
    try_number: int
    resubmit_if_uncertain: bool = False
    record: Record | None = None
    is_cleared: bool = False
    given_job_id: str | None = None
    is_accepted: bool = False
    job: Job | CordialError | None = None
    jobs: Sequence[Job] | CordialError | None = None
    is_settled: bool = False
    inconclusive: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What to do next.

    :param reason: logged when the step is taken, unless it is empty; it does not make the step another one.
    :param is_warning: whether the reason is a warning.
    """

    reason: str = field(default="", compare=False)
    is_warning: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Send(_Step):
    """Submit the export under the name of a generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class PollJob(_Step):
    """Poll the recorded job: it may have Failed."""

    job_id: str


@dataclass(frozen=True, slots=True)
class ListJobs(_Step):
    """Search the list of jobs for the export."""


@dataclass(frozen=True, slots=True)
class Pause(_Step):
    """Wait before listing again: the job may still appear."""


@dataclass(frozen=True, slots=True)
class Adopt(_Step):
    """Record the id of a listed job.

    :param started_at: None if it has not started, as far as is known.
    """

    job_id: str
    generation: int
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reuse(_Step):
    """Continue with the recorded job."""

    record: Record


@dataclass(frozen=True, slots=True)
class Take(_Step):
    """Resume the job that a person has named, after checking that it is this task's."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Restart(_Step):
    """Forget the record: the task was cleared, so the next submission has a new name."""


@dataclass(frozen=True, slots=True)
class Uncertain(_Step):
    """Give up: it is unknown whether that generation has a job."""

    generation: int


Step = Send | PollJob | ListJobs | Pause | Adopt | Reuse | Take | Restart | Uncertain


def decide(state: SubmissionState) -> Step:
    """Return what to do next."""
    if state.given_job_id is not None:
        return Take(state.given_job_id, reason=f"Resuming job {state.given_job_id}, as provided by job_id or the conf")
    record = state.record
    if record is None and (state.has_store or state.try_number <= 1):
        return Send(1)
    if record is not None and record.job_id is not None:
        return _decide_for_job(state, record, record.job_id)
    # There is an intent without an answer, or no store that could hold one.
    if state.is_cleared and not state.names_the_run:
        return Restart(reason=f"Task was cleared, and no job can be recognized by name {state.name}; exporting again")
    if state.jobs is None:
        return ListJobs()
    if state.is_cleared:
        return _decide_after_clear(state, state.jobs)
    if isinstance(state.jobs, CordialError):
        generation = record.generation if record else 1
        return _uncertain(state, generation, f"the list of jobs cannot be read: {state.jobs}")
    return _decide_by_list(state, state.jobs)


def _decide_for_job(state: SubmissionState, record: Record, job_id: str) -> Step:
    name = generation_name(state.name, record.generation)
    if state.is_accepted:
        return Reuse(record, reason=f"Submitted export {name} as job {job_id}")
    if state.job is None:
        return PollJob(job_id)
    if state.is_cleared and not _may_be_live(state.job, is_settled=state.is_settled):
        return Restart(reason=f"Task was cleared, and {_describe(state.job, job_id)}; exporting again")
    if isinstance(state.job, Job) and state.job.is_failed:
        generation = record.generation + 1
        reason = (
            f"Job {job_id} Failed; exporting again as {generation_name(state.name, generation)}. "
            f"Job record: {state.job.to_json()}"
        )
        return Send(generation, reason=reason, is_warning=True)
    return Reuse(record, reason=f"Resuming job {job_id} of export {name}")


def _decide_after_clear(state: SubmissionState, jobs: Sequence[Job] | CordialError) -> Step:
    """Continue with a live job whose id was lost; whatever else the list contains, a clear exports again."""
    listed = () if isinstance(jobs, CordialError) else jobs
    newest = state.record.generation if state.record else 1
    ours = {job.id: job for job in listed if job.id and parse_generation(job.name, state.name) == newest}
    if [live := job for job in ours.values() if not job.has_ended]:
        reason = f"Task was cleared, and job {live.id} of export {state.name} is {live.status}; resuming it"
        return Adopt(live.id, newest, live.started_at, reason=reason)
    return Restart(reason=f"Task was cleared, and no live job of export {state.name} is listed; exporting again")


def _may_be_live(job: Job | CordialError, *, is_settled: bool) -> bool:
    if isinstance(job, Job):
        return not job.has_ended
    return isinstance(job, NotFoundError) and not is_settled


def _describe(job: Job | CordialError, job_id: str) -> str:
    return f"job {job_id} is {job.status}" if isinstance(job, Job) else f"job {job_id} cannot be polled: {job}"


def _decide_by_list(state: SubmissionState, jobs: Sequence[Job]) -> Step:
    since = state.record.intended_at - CLOCK_SKEW if state.record else None
    # A job that started before the intent belongs to another run, if its name does not already show that.
    recent = [job for job in jobs if not _started_before(job, since)]
    candidates = jobs if state.names_the_run else recent
    named = [(number, job) for job in candidates if (number := parse_generation(job.name, state.name))]
    newest = state.record.generation if state.record else max((number for number, _ in named), default=1)
    name = generation_name(state.name, newest)
    ours = {job.id: job for number, job in named if number == newest}
    if len(ours) > 1:
        return _uncertain(state, newest, f"{len(ours)} jobs have its name")
    for job_id, job in ours.items():
        if not job_id:
            return _uncertain(state, newest, "a listed job has its name, but the list does not contain the job's id")
        if not state.names_the_run:
            return _uncertain(state, newest, f"job {job_id} has its name, but so do the exports of other runs")
        reason = f"Export {name} is job {job_id}; not submitting it again"
        return Adopt(job_id, newest, job.started_at, reason=reason)
    if not state.is_settled:
        return Pause(reason=f"Export {name} is not in the list of jobs yet")
    if state.inconclusive:
        return _uncertain(state, newest, state.inconclusive)
    if unnamed := [job for job in recent if job.name is None and job.may_be_export]:
        return _uncertain(
            state, newest, f"the list contains jobs without a name ({len(unnamed)}), and each may be this export"
        )
    return Send(newest, reason=f"Export {name} is not among {len(jobs)} listed jobs: it did not arrive")


def _uncertain(state: SubmissionState, generation: int, reason: str) -> Step:
    if not state.resubmit_if_uncertain:
        return Uncertain(generation, reason=reason)
    name = generation_name(state.name, generation)
    text = f'Unknown whether export {name} was accepted ({reason}); on_uncertain_submission="resubmit" submits it again'
    return Send(generation + 1, reason=text, is_warning=True)


def _started_before(job: Job, moment: datetime | None) -> bool:
    return moment is not None and job.started_at is not None and job.started_at < moment
