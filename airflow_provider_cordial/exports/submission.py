"""Submit an export once: a retry finds the job of the try before, and a clear makes a new one.

Cordial has no idempotency key and no cancel, so a POST that is repeated is a second job and a second file. Three things
keep that from happening:

* the identity of a submission (``exports.identity``);
* a record of it in Airflow's task state store (3.3 and later): an intent before the POST, and the job id after it;
* the export's name, which carries the identity, so that a job whose id was never heard of is found in the list of jobs.

What to do next is what ``exports.decision`` says; ``submit`` does it, until there is a job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_cordial.client.job import Job
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
from airflow_provider_cordial.exports.base import Export, SubmittedExport
from airflow_provider_cordial.exports.decision import (
    Adopt,
    ListJobs,
    PollJob,
    Record,
    Send,
    SubmissionState,
    Uncertain,
    Wait,
    decide,
)
from airflow_provider_cordial.exports.identity import Identity, generation_name
from airflow_provider_cordial.jobs.waiting import poll_once

if TYPE_CHECKING:
    from airflow_provider_cordial.hooks.cordial import CordialHook

log = logging.getLogger(__name__)

#: The key in the task state store.
STATE_KEY = "cordial_submission"

#: How long a job may take to be in the list, in seconds.
SETTLING_TIME = 120.0

#: How often one try sends an export whose POST turned out not to have arrived.
MAX_SENDINGS = 3

#: How often the list is read until then.
LOOKS_WHILE_SETTLING = 12

OnUncertainSubmission = Literal["fail", "resubmit"]


class StateStore(Protocol):
    """What of Airflow's task state store is used; what is set in it outlives the process."""

    def get(self, key: str, default: Any = None) -> Any: ...
    def set(self, key: str, value: Any) -> None: ...
    def delete(self, key: str) -> None: ...


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
    known = SubmissionState(export.name, identity.names_the_run, store is not None, try_number, record)
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
        elif isinstance(step, PollJob):
            # Whoever waits for it says what is wrong; here it only matters that it has not Failed as far as we know.
            known = replace(known, job=poll_once(hook, step.job_id))
        elif isinstance(step, ListJobs):
            is_settled = (datetime.now(UTC) - over_at).total_seconds() >= settling_time
            known = replace(known, jobs=_list(hook, last=is_settled), is_settled=is_settled)
        elif isinstance(step, Wait):
            log.info("Export %s is not in the list of jobs yet", export.name)
            left = settling_time - (datetime.now(UTC) - over_at).total_seconds()
            time.sleep(max(0.0, min(left, settling_time / LOOKS_WHILE_SETTLING)))
            known = replace(known, jobs=None)
        elif isinstance(step, Adopt):
            log.info(
                "Export %s is job %s; it is not sent again", generation_name(export.name, step.generation), step.job_id
            )
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
    name = generation_name(name, step.generation)
    if on_uncertain == "resubmit":
        log.warning("Whether export %s was accepted cannot be told (%s); sending again, as told", name, step.why)
        return Send(step.generation + 1)
    msg = (
        f"Whether Cordial accepted export {name} cannot be told: {step.why}. It was submitted at "
        f"{since:%Y-%m-%d %H:%M:%S %Z} or before. Look for it on Cordial's Jobs page. If it is not there, clear the "
        'task, which exports again; on_uncertain_submission="resubmit" always does.'
    )
    raise SubmissionUncertainError(msg)


def _tell_why(known: SubmissionState, name: str, generation: int) -> None:
    if isinstance(known.job, Job) and known.job.is_failed:
        text = "Job %s Failed; exporting again, as %s. All that Cordial says of it: %s"
        log.warning(text, known.job.id, generation_name(name, generation), known.job.to_json())
    elif known.jobs is not None and not isinstance(known.jobs, CordialError):
        log.info("None of %d jobs is export %s: it did not arrive", len(known.jobs), generation_name(name, generation))


def _keep(store: StateStore | None, record: Record | None) -> None:
    if store is None:
        return
    if record is None:
        store.delete(STATE_KEY)
    else:
        store.set(STATE_KEY, record.to_json())


def _named(export: Export, record: Record) -> Export:
    return export.named(generation_name(export.name, record.generation))
