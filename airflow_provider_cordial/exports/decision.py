"""What to do next for a submission, from what is known of it; a decision, and no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import CordialError
from airflow_provider_cordial.exports.identity import parse_generation

#: Cordial's clock may be behind ours.
CLOCK_SKEW = timedelta(minutes=5)


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
class SubmissionState:
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
class PollJob:
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
class Reuse:
    """Go on with the recorded job."""

    record: Record


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Whether there is a job of that generation cannot be told."""

    why: str
    generation: int


Step = Send | PollJob | ListJobs | Wait | Adopt | Reuse | Uncertain


def decide(known: SubmissionState) -> Step:
    """Return what to do next, from what is known."""
    record = known.record
    if record is None and (known.has_store or known.try_number <= 1):
        return Send(1)
    if record is not None and record.job_id is not None:
        if known.job is None:
            return PollJob(record.job_id)
        if isinstance(known.job, Job) and known.job.is_failed:
            return Send(record.generation + 1)
        return Reuse(record)
    # There is an intent without an answer, or nowhere to have kept one.
    if known.jobs is None:
        return ListJobs()
    if isinstance(known.jobs, CordialError):
        return Uncertain(f"the list of jobs cannot be read: {known.jobs}", record.generation if record else 1)
    return _decide_by_the_list(known, known.jobs)


def _decide_by_the_list(known: SubmissionState, jobs: Sequence[Job]) -> Step:
    since = known.record.intended_at - CLOCK_SKEW if known.record else None
    # A job that started before the intent is another run's, if its name does not say so already.
    recent = [job for job in jobs if not _started_before(job, since)]
    candidates = jobs if known.names_the_run else recent
    named = [(number, job) for job in candidates if (number := parse_generation(job.name, known.name))]
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
