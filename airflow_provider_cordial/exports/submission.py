"""Submission: submit an export exactly once.

Cordial has no idempotency key and no cancel, so a repeated POST is a second job and a second file. Three things prevent
that:

* the identity of a submission (``exports.identity``);
* a record of it in Airflow's task state store (3.3 and later): an intent before the POST, the job id after it, and the
  try, by which a clear differs from a retry;
* the export's name, which carries the identity, so that a job whose id was lost is found in the list of jobs.

``exports.decision`` decides what to do next; ``Submission`` does it until there is a job.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_cordial._compat import command_line
from airflow_provider_cordial.client import metrics
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.client.pages import JobPages
from airflow_provider_cordial.exceptions import (
    AccessError,
    ConnectionFailedError,
    CordialError,
    ExportConfigurationError,
    InvalidParameterError,
    NotFoundError,
    RateLimitError,
    RefusedError,
    SubmissionUncertainError,
    TransientError,
    answered_by_another,
)
from airflow_provider_cordial.exports.base import Export, SubmittedExport
from airflow_provider_cordial.exports.decision import (
    CLOCK_SKEW,
    Adopt,
    ListJobs,
    Pause,
    PollJob,
    Record,
    Restart,
    Reuse,
    Send,
    Step,
    SubmissionState,
    Take,
    Uncertain,
    decide,
)
from airflow_provider_cordial.exports.identity import (
    Attempt,
    Identity,
    generation_name,
    may_be_name_of,
    parse_generation,
    unique_name,
)
from airflow_provider_cordial.exports.search import JobSearch
from airflow_provider_cordial.jobs.blocking import poll_once

if TYPE_CHECKING:
    from airflow_provider_cordial.destinations import Address
    from airflow_provider_cordial.hooks.cordial import CordialHook

log = logging.getLogger(__name__)

#: The key in the task state store.
STATE_KEY = "cordial_submission"

#: Seconds within which a submitted job appears in the list.
SETTLING_TIME = 120.0

#: The key of a run's conf that names the jobs to resume: ``{"cordial_job_id": {"<task_id>": "<job id>"}}``.
CONF_KEY = "cordial_job_id"

#: How long Cordial keeps the record of a job. Source: Cordial, "Jobs API".
JOB_RETENTION = timedelta(days=60)

#: How often one try submits an export whose POST turns out not to have arrived.
MAX_SUBMISSIONS = 3

#: How often one try reads a list that proves nothing before it gives up, also after the settling time.
MAX_INCONCLUSIVE_LISTINGS = 5

#: How often the list is read within the settling time.
LISTINGS_WHILE_SETTLING = 12

OnUncertainSubmission = Literal["fail", "resubmit"]


class StateStore(Protocol):
    """The part of Airflow's task state store that is used; its values outlive the process."""

    def get(self, key: str, default: Any = None) -> Any: ...
    def set(self, key: str, value: Any) -> None: ...
    def delete(self, key: str) -> None: ...


class Submission:
    """Submit an export exactly once; run again with the same identity, it resumes where an earlier run was killed.

    :param export: under the author's name; unless the identity says otherwise, a digest is added to it.
    :param attempt: the try that submits.
    :param store: the task state store, where Airflow has one.
    :param settling_time: seconds after the end of a POST by which its job must be in the list.
    :param on_uncertain: ``fail``, or ``resubmit`` where it is unknown whether Cordial accepted the export.
    :param given_job_id: the id of a job to resume, from a person who has found it; it is taken once.
    :param skip_refused: whether to leave out the parts of the request that Cordial refuses, if some remain.
    """

    def __init__(
        self,
        hook: CordialHook,
        export: Export,
        identity: Identity,
        attempt: Attempt,
        *,
        store: StateStore | None,
        settling_time: float = SETTLING_TIME,
        on_uncertain: OnUncertainSubmission = "fail",
        given_job_id: str | None = None,
        skip_refused: bool = False,
    ) -> None:
        self._hook = hook
        self._export = export
        self._identity = identity
        self._attempt = attempt
        self._store = store
        self._settling_time = settling_time
        self._skip_refused = skip_refused
        self._stored = Record.from_json(store.get(STATE_KEY)) if store is not None else None
        self._taken = self._stored.given_job_id if self._stored else None
        record = self._own_record()
        self._state = SubmissionState(
            name=record.name if record else self._new_name(),
            names_the_run=identity.names_the_run,
            has_store=store is not None,
            try_number=attempt.try_number,
            resubmit_if_uncertain=on_uncertain == "resubmit",
            record=record,
            is_cleared=record is not None and attempt.is_after_clear_since(record.attempt),
            given_job_id=None if given_job_id == self._taken else given_job_id,
        )
        # Without a record the time of an earlier POST is unknown; it was before now.
        self._submitted_at = record.intended_at if record else datetime.now(UTC)
        #: From this moment no POST is on its way, and a job has the settling time to be listed.
        last_sent = (record.sent_at or record.intended_at) if record else datetime.now(UTC)
        longest = timedelta(seconds=hook.connection.connect_timeout + hook.connection.export_timeout)
        self._settling_since = min(datetime.now(UTC), last_sent + longest)
        self._submissions = 0
        self._inconclusive_listings = 0
        self._last_reason = ""

    @property
    def name(self) -> str:
        """The export's name in the first generation."""
        return self._state.name

    @property
    def is_done(self) -> bool:
        """Whether the submission has seen its job Done; otherwise only a wait can tell."""
        job, record = self._state.job, self._state.record
        return isinstance(job, Job) and job.is_done and record is not None and record.job_id == job.id

    def run(self) -> SubmittedExport:
        """Submit the export, or find the job of an earlier try, and return it with its job id.

        The destination's Airflow connection is read here, at the moment of the submission, and nowhere before.

        :raises SubmissionUncertainError: it is unknown whether there is a job.
        :raises CordialError: see ``CordialHook.create_export``.
        """
        while True:
            step = decide(self._state)
            self._log_reason(step)
            match step:
                case Reuse(record=record):
                    if self._stored is not None and self._stored.job_id == record.job_id:
                        metrics.count("export.resumed", kind=self._export.kind)
                    break
                case Send(generation=generation):
                    self._send(generation)
                case PollJob(job_id=job_id):
                    self._poll(job_id)
                case ListJobs():
                    self._list()
                case Pause():
                    pause = self._settling_time / LISTINGS_WHILE_SETTLING
                    left = self._seconds_to_settle()
                    time.sleep(min(left, pause) if left > 0 else pause)
                    self._state = replace(self._state, jobs=None)
                case Adopt():
                    self._adopt(step)
                case Take(job_id=job_id):
                    self._take(job_id)
                case Restart():
                    self._state = replace(
                        self._state, name=self._new_name(), record=None, is_cleared=False, job=None, jobs=None
                    )
                case Uncertain(generation=generation, reason=reason):
                    raise self._uncertain_error(generation, reason)
        if self._state.is_cleared:
            self._write_record(replace(record, attempt=self._attempt))
        export = self._named(record.generation).without(record.refused)
        uri = record.uri or self._delivery_uri()
        job_id = str(record.job_id)
        return SubmittedExport(
            export,
            job_id,
            uri,
            record.intended_at,
            has_unique_name=self._identity.names_the_run,
            job_url=self._hook.connection.job_url(job_id),
        )

    def _log_reason(self, step: Step) -> None:
        """Log why a step is taken, once for steps in a row with the same reason; an error carries its own."""
        if step.reason and step.reason != self._last_reason and not isinstance(step, Uncertain):
            log.log(logging.WARNING if step.is_warning else logging.INFO, "%s", step.reason)
        self._last_reason = step.reason or self._last_reason

    def _poll(self, job_id: str) -> None:
        """Poll the recorded job; the wait reports what is wrong with it, here it only matters whether it has ended."""
        job = poll_once(self._hook, job_id)
        if self._state.is_cleared and isinstance(job, CordialError):
            # The job may be live, and a clear exports again only if it is not.
            raise_if_retry_helps(job)
        self._state = replace(self._state, job=job, is_settled=self._seconds_to_settle() <= 0)

    def _send(self, generation: int) -> None:
        """Record the intent, submit the export, and record the job id."""
        # Here and nowhere before: a job of an earlier try is resumed without the connection.
        address = self._export.destination.address()
        self._submissions += 1
        self._submitted_at = datetime.now(UTC)
        previous = self._stored
        record = replace(self._new_record(generation, self._submitted_at), uri=address.uri)

        def record_attempt() -> None:
            nonlocal record
            record = replace(record, sent_at=datetime.now(UTC))
            self._write_record(record)

        while True:
            try:
                job_id = self._post(self._named(generation).without(record.refused), address, record_attempt)
            except CordialError as error:
                if refused := self._find_refused(error, record.refused):
                    log.warning("Exporting without %s: %s", ", ".join(refused), error.cordial_message)
                    record = replace(record, refused=(*record.refused, *refused))
                    continue
                if isinstance(error, RefusedError):
                    # A firewall or a proxy may have forwarded the request, so the next try searches for the job.
                    raise_if_retry_helps(error)
                if was_not_accepted(error):
                    # As if nothing had been intended: the next try need not search for a job.
                    self._write_record(previous)
                    raise
                if self._submissions == MAX_SUBMISSIONS:
                    raise
                log.warning("%s Searching the list of jobs for it.", error.message)
                metrics.count("export.uncertain", kind=self._export.kind)
                self._settling_since = datetime.now(UTC)
                self._state = replace(self._state, record=record, job=None, jobs=None)
            else:
                record = replace(record, job_id=job_id)
                self._write_record(record)
                metrics.count("export.submitted", kind=self._export.kind)
                self._state = replace(self._state, record=record, is_accepted=True)
            return

    def _find_refused(self, error: CordialError, already: tuple[str, ...]) -> tuple[str, ...]:
        """Return the parts of the request that a refusal names and that can be left out."""
        if not self._skip_refused or not isinstance(error, ExportConfigurationError):
            return ()
        return self._export.without(already).find_refused(error.cordial_message or "")

    def _post(self, export: Export, address: Address, before_send: Callable[[], None]) -> str:
        return self._hook.create_export(
            export.kind,
            {**export.body(), "destination": dict(address.body)},
            secrets=address.secrets,
            error_hint=export.error_hint,
            before_send=before_send,
        )

    def _delivery_uri(self) -> str:
        """Return where an adopted job delivers to, as far as that is known without a submission."""
        destination = self._export.destination
        try:
            return destination.address().uri
        except Exception:  # noqa: BLE001 - any error of a connection that is not needed any more
            return destination.asset_uri or f"{destination.type}:"

    def _adopt(self, step: Adopt) -> None:
        """Record the id of a listed job."""
        # Without a record, the job's start is the only hint at how old its file may be.
        metrics.count("export.found", kind=self._export.kind)
        intended_at = min(self._submitted_at, step.started_at or self._submitted_at)
        known = self._state.record or self._new_record(step.generation, intended_at)
        self._use(replace(known, generation=step.generation, intended_at=intended_at, job_id=step.job_id))

    def _take(self, job_id: str) -> None:
        """Record the id of the job that a person has named.

        :raises InvalidParameterError: Cordial does not know the job, or it is of another export.
        """
        job = poll_once(self._hook, job_id)
        if isinstance(job, NotFoundError):
            msg = f"Invalid job_id {job_id!r}: Cordial does not know this job. Correct or remove the id."
            raise InvalidParameterError(msg)
        if isinstance(job, CordialError):
            raise_if_retry_helps(job)
            raise job
        name, generation = self._state.name, self._state.record.generation if self._state.record else 1
        if job.name is not None:
            name, generation = self._check_name(job.name, job_id)
        else:
            log.warning(
                "Job %s does not show its export's name; its file is expected to be named after %s", job_id, name
            )
        self._taken = job_id
        started_at = job.started_at or datetime.now(UTC) - JOB_RETENTION
        record = replace(
            self._new_record(generation, min(self._submitted_at, started_at)),
            name=name,
            job_id=job_id,
            refused=self._state.record.refused if self._state.record else (),
        )
        self._use(record)
        self._state = replace(self._state, name=name, is_cleared=False, given_job_id=None, job=job)

    def _check_name(self, job_name: str, job_id: str) -> tuple[str, int]:
        """Return the name and the generation of a named job; it may be of another run, or from before a clear."""
        author_name = self._export.name
        if not may_be_name_of(job_name, author_name):
            msg = (
                f"Invalid job_id {job_id!r}: it is the job of export {job_name!r}, not of {author_name!r}. Look up the "
                "id on Cordial's Jobs page."
            )
            raise InvalidParameterError(msg)
        if generation := parse_generation(job_name, self._state.name):
            return self._state.name, generation
        return job_name, 1

    def _new_record(self, generation: int, intended_at: datetime) -> Record:
        return Record(
            digest=self._identity.digest,
            attempt=self._attempt,
            name=self._state.name,
            generation=generation,
            intended_at=intended_at,
            given_job_id=self._taken,
        )

    def _use(self, record: Record) -> None:
        self._write_record(record)
        self._state = replace(self._state, record=record)

    def _list(self) -> None:
        """Search the list of jobs for the export; a list that was cut off or cannot be read proves nothing."""
        is_settled = self._seconds_to_settle() <= 0
        record, state = self._state.record, self._state
        search = JobSearch(
            state.name,
            record.generation if record and state.names_the_run else None,
            record.intended_at - CLOCK_SKEW if record else None,
        )
        pages = JobPages()
        inconclusive: str | None = None
        try:
            if not search.run(self._hook.list_jobs(pages=pages)) and not pages.is_complete:
                inconclusive = f"the list of jobs was cut off: {pages.cut_off}"
        except CordialError as error:
            if isinstance(error, AccessError) and error.is_from_cordial:
                self._state = replace(state, jobs=error, is_settled=is_settled)
                return
            if state.is_cleared:
                raise_if_retry_helps(error)
            if isinstance(error, TransientError) and is_settled:
                raise
            inconclusive = f"the list of jobs cannot be read: {error.message}"
        if inconclusive and not state.is_cleared:
            self._inconclusive_listings += 1
            # One page of a proxy, or one list that moves, decides nothing.
            is_settled = is_settled and self._inconclusive_listings >= MAX_INCONCLUSIVE_LISTINGS
            if not is_settled:
                log.warning("Search for export %s is inconclusive, repeating it: %s", state.name, inconclusive)
        self._state = replace(state, jobs=tuple(search.jobs), is_settled=is_settled, inconclusive=inconclusive)

    def _seconds_to_settle(self) -> float:
        return self._settling_time - (datetime.now(UTC) - self._settling_since).total_seconds()

    def _uncertain_error(self, generation: int, reason: str) -> SubmissionUncertainError:
        name = generation_name(self._state.name, generation)
        return SubmissionUncertainError(
            f"Unknown whether Cordial accepted export {name}: {reason.rstrip('.')}. "
            f"It was submitted at {self._submitted_at:%Y-%m-%d %H:%M:%S %Z} or before. Search for it on Cordial's Jobs "
            f"page. {self._uncertain_advice()}"
        )

    def _uncertain_advice(self) -> str:
        task = self._identity.task
        if task is None:
            return "If it is not there, run the command again, which exports again."
        command = [*command_line(), "adopt", task.dag_id, task.run_id, task.task_id]
        options = [] if task.map_index < 0 else ["--map-index", str(task.map_index)]
        return (
            f"If it is there, resume it: {shlex.join([*command, 'JOB_ID', *options])} (or set the task's job_id to its "
            "id, and clear the task). If it is not there, clear the task, which exports again; "
            'on_uncertain_submission="resubmit" always does.'
        )

    def _new_name(self) -> str:
        if not self._identity.names_the_run:
            return self._export.name
        return unique_name(self._export.name, self._identity, self._attempt, has_store=self._store is not None)

    def _own_record(self) -> Record | None:
        """Return the stored record if it is of this submission."""
        if self._stored is not None and self._stored.digest != self._identity.digest:
            log.info("The task's parameters have changed; submitting a new export")
            return None
        return self._stored

    def _write_record(self, record: Record | None) -> None:
        if self._store is None:
            return
        if record is None:
            self._store.delete(STATE_KEY)
        else:
            self._store.set(STATE_KEY, record.to_json())
        self._stored = record

    def _named(self, generation: int) -> Export:
        return self._export.named(generation_name(self._state.name, generation))


def raise_if_retry_helps(error: CordialError) -> None:
    """Raise an error that says nothing about a job, as one that a retry can help.

    :raises TransientError: it is one, or something in front of Cordial answered.
    """
    if isinstance(error, TransientError):
        raise error
    if not error.is_from_cordial:
        raise answered_by_another(error) from None


def was_not_accepted(error: CordialError) -> bool:
    """Return whether an error of a POST proves that there is no job."""
    if isinstance(error, ConnectionFailedError):
        return not error.sent
    return isinstance(error, RefusedError | RateLimitError)
