"""Submission: submit an export exactly once.

Cordial has no idempotency key and no cancel, so a repeated POST is a second job and a second file. Three things prevent
that:

* the identity of a submission (``exports.identity``);
* a record of it in Airflow's task state store (3.3 and later): an intent before the POST, and the job id after it;
* the export's name, which carries the identity, so that a job whose id was lost is found in the list of jobs.

``exports.decision`` decides what to do next; ``Submission`` does it until there is a job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_cordial.client.pages import MAX_PAGES, JobPages
from airflow_provider_cordial.exceptions import (
    AccessError,
    ConnectionFailedError,
    CordialError,
    RateLimitError,
    RefusedError,
    SubmissionUncertainError,
    TransientError,
)
from airflow_provider_cordial.exports.base import Export, SubmittedExport
from airflow_provider_cordial.exports.decision import (
    CLOCK_SKEW,
    Adopt,
    ListJobs,
    Pause,
    PollJob,
    Record,
    Reuse,
    Send,
    Step,
    SubmissionState,
    Uncertain,
    decide,
)
from airflow_provider_cordial.exports.identity import Identity, generation_name
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

#: How often one try submits an export whose POST turns out not to have arrived.
MAX_SUBMISSIONS = 3

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

    :param export: named as in the first generation.
    :param store: the task state store, where Airflow has one.
    :param try_number: of the task.
    :param settling_time: seconds after the end of a POST by which its job must be in the list.
    :param on_uncertain: ``fail``, or ``resubmit`` where it is unknown whether Cordial accepted the export.
    """

    def __init__(
        self,
        hook: CordialHook,
        export: Export,
        identity: Identity,
        *,
        store: StateStore | None,
        try_number: int,
        settling_time: float = SETTLING_TIME,
        on_uncertain: OnUncertainSubmission = "fail",
    ) -> None:
        self._hook = hook
        self._export = export
        self._identity = identity
        self._store = store
        self._settling_time = settling_time
        record = self._read_record()
        self._state = SubmissionState(
            name=export.name,
            names_the_run=identity.names_the_run,
            has_store=store is not None,
            try_number=try_number,
            resubmit_if_uncertain=on_uncertain == "resubmit",
            record=record,
        )
        # Without a record the time of an earlier POST is unknown; it was before now.
        self._submitted_at = record.intended_at if record else datetime.now(UTC)
        #: From this moment no POST is on its way, and a job has the settling time to be listed.
        last_sent = (record.sent_at or record.intended_at) if record else datetime.now(UTC)
        longest = timedelta(seconds=hook.connection.connect_timeout + hook.connection.export_timeout)
        self._settling_since = min(datetime.now(UTC), last_sent + longest)
        self._submissions = 0
        self._last_reason = ""

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
                    break
                case Send(generation=generation):
                    self._send(generation)
                case PollJob(job_id=job_id):
                    # The wait reports what is wrong with a job; here it only matters whether it Failed.
                    self._state = replace(self._state, job=poll_once(self._hook, job_id))
                case ListJobs():
                    self._list()
                case Pause():
                    pause = min(self._seconds_to_settle(), self._settling_time / LISTINGS_WHILE_SETTLING)
                    time.sleep(max(0.0, pause))
                    self._state = replace(self._state, jobs=None)
                case Adopt():
                    self._adopt(step)
                case Uncertain(generation=generation, reason=reason):
                    raise self._uncertain_error(generation, reason)
        uri = record.uri or self._delivery_uri()
        return SubmittedExport(self._named(record.generation), str(record.job_id), uri, record.intended_at)

    def _log_reason(self, step: Step) -> None:
        """Log why a step is taken, once for steps in a row with the same reason; an error carries its own."""
        if step.reason and step.reason != self._last_reason and not isinstance(step, Uncertain):
            log.log(logging.WARNING if step.is_warning else logging.INFO, "%s", step.reason)
        self._last_reason = step.reason or self._last_reason

    def _send(self, generation: int) -> None:
        """Record the intent, submit the export, and record the job id."""
        # Here and nowhere before: a job of an earlier try is resumed without the connection.
        address = self._export.destination.address()
        self._submissions += 1
        self._submitted_at = datetime.now(UTC)
        previous = self._state.record
        record = Record(self._identity.digest, generation, self._submitted_at, uri=address.uri)

        def record_attempt() -> None:
            nonlocal record
            record = replace(record, sent_at=datetime.now(UTC))
            self._write_record(record)

        try:
            job_id = self._post(generation, address, record_attempt)
        except CordialError as error:
            if was_not_accepted(error):
                # As if nothing had been intended: the next try need not search for a job.
                self._write_record(previous)
                raise
            if self._submissions == MAX_SUBMISSIONS:
                raise
            log.warning("%s Searching the list of jobs for it.", error)
            self._settling_since = datetime.now(UTC)
            self._state = replace(self._state, record=record, job=None, jobs=None)
        else:
            record = replace(record, job_id=job_id)
            self._write_record(record)
            self._state = replace(self._state, record=record, is_accepted=True)

    def _post(self, generation: int, address: Address, before_send: Callable[[], None]) -> str:
        export = self._named(generation)
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
        # Without a record, the job's start is the only hint at how old its file may be.
        intended_at = min(self._submitted_at, step.started_at or self._submitted_at)
        record = Record(self._identity.digest, step.generation, intended_at, step.job_id)
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
                inconclusive = f"the list of jobs is longer than {MAX_PAGES} pages"
        except AccessError as error:
            if error.is_from_cordial:
                self._state = replace(state, jobs=error, is_settled=is_settled)
                return
            inconclusive = f"the list of jobs cannot be read: {error}"
        except TransientError as error:
            if is_settled:
                raise
            inconclusive = f"the list of jobs cannot be read: {error}"
        except CordialError as error:
            inconclusive = f"the list of jobs cannot be read: {error}"
        if inconclusive and not is_settled:
            log.warning("Search for export %s is inconclusive, repeating it: %s", state.name, inconclusive)
        self._state = replace(state, jobs=tuple(search.jobs), is_settled=is_settled, inconclusive=inconclusive)

    def _seconds_to_settle(self) -> float:
        return self._settling_time - (datetime.now(UTC) - self._settling_since).total_seconds()

    def _uncertain_error(self, generation: int, reason: str) -> SubmissionUncertainError:
        return SubmissionUncertainError(
            f"Unknown whether Cordial accepted export {generation_name(self._export.name, generation)}: {reason}. "
            f"It was submitted at {self._submitted_at:%Y-%m-%d %H:%M:%S %Z} or before. Search for it on Cordial's Jobs "
            "page. If it is not there, clear the task, which exports again; "
            'on_uncertain_submission="resubmit" always does.'
        )

    def _read_record(self) -> Record | None:
        record = Record.from_json(self._store.get(STATE_KEY)) if self._store else None
        if record and record.digest != self._identity.digest:
            log.info("Task was cleared or its parameters changed; submitting a new export")
            return None
        return record

    def _write_record(self, record: Record | None) -> None:
        if self._store is None:
            return
        if record is None:
            self._store.delete(STATE_KEY)
        else:
            self._store.set(STATE_KEY, record.to_json())

    def _named(self, generation: int) -> Export:
        return self._export.named(generation_name(self._export.name, generation))


def was_not_accepted(error: CordialError) -> bool:
    """Return whether an error of a POST proves that there is no job."""
    if isinstance(error, ConnectionFailedError):
        return not error.sent
    return isinstance(error, RefusedError | RateLimitError)
