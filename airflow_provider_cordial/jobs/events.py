"""The event that a trigger fires and a task resumes with, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import BadEventError, CordialError, JobError, error_from_json


def build_event(job_id: str, outcome: Job | CordialError) -> dict[str, Any]:
    """Return the event of a trigger: everything that the task needs to resume."""
    job = outcome if isinstance(outcome, Job) else getattr(outcome, "job", None)
    return {
        "status": "success" if isinstance(outcome, Job) else "error",
        "job_id": job_id,
        "job": job.to_json() if job else None,
        "error": None if isinstance(outcome, Job) else outcome.to_json(),
    }


def parse_event(event: Any, job_id: str) -> Job:
    """Return the Done job of a trigger's event.

    :param job_id: the job that the task waits for.
    :raises BadEventError: the event cannot be read or belongs to another job; it is never treated as a success.
    :raises CordialError: the error that ended the wait.
    """
    if not isinstance(event, Mapping) or not isinstance(event.get("job_id"), str):
        msg = f"Invalid trigger event {event!r}: expected a mapping with a job_id. The job may be Done."
        raise BadEventError(msg)
    if event["job_id"] != job_id:
        msg = f"The trigger event belongs to job {event['job_id']}, but the task waits for job {job_id}."
        raise BadEventError(msg)
    record = event.get("job")
    job = Job.from_record(record, event["job_id"]) if isinstance(record, Mapping) else None
    if event.get("status") == "success" and job is not None and job.is_done:
        return job
    if event.get("status") == "error" and isinstance(event.get("error"), Mapping):
        error = error_from_json(dict(event["error"]))
        if isinstance(error, JobError):
            error.job = job
        raise error
    msg = f"Invalid trigger event {dict(event)!r}: it reports neither success nor an error. The job may be Done."
    raise BadEventError(msg)
