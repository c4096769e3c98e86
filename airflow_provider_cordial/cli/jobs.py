"""``airflow cordial jobs``: list, show, and await jobs."""

from __future__ import annotations

import logging
import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from airflow_provider_cordial.cli.command import command
from airflow_provider_cordial.cli.output import write_json, write_record, write_table
from airflow_provider_cordial.client.job import Job, parse_status
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.jobs.blocking import wait_for_job
from airflow_provider_cordial.jobs.options import default_poll_interval

log = logging.getLogger(__name__)


@command
def list_jobs(args: Namespace) -> None:
    """List the jobs of the account."""
    jobs = [*islice(_find_jobs(args), args.limit)]
    if args.output == "json":
        write_json([job.to_json() for job in jobs])
        return
    rows = [(job.id, job.status, job.name, _moment(job.started_at), _moment(job.ended_at)) for job in jobs]
    write_table(rows, ("job id", "status", "export", "started", "ended"), style=style_of_status)


def _find_jobs(args: Namespace) -> Iterator[Job]:
    status = parse_status(args.status)
    # Compared here as well: whether Cordial applies the filter to a status in another spelling is not documented.
    for job in CordialHook(args.cordial_conn_id).list_jobs(filters={"status": status} if status else None):
        if (not status or job.status == status) and (args.name or "") in (job.name or ""):
            yield job


@command
def show_job(args: Namespace) -> None:
    """Show the record of a job."""
    write_job(CordialHook(args.cordial_conn_id).get_job(args.job_id), args.output)


@command
def await_job(args: Namespace) -> None:
    """Wait until a job is Done."""
    write_job(wait(CordialHook(args.cordial_conn_id), args.job_id, args.timeout), args.output)


def wait(hook: CordialHook, job_id: str, timeout: float) -> Job:
    """Wait until a job is Done, and log each change of its status.

    :param timeout: seconds.
    :raises CordialError: see ``wait_for_job``.
    """
    return wait_for_job(hook, job_id, poll_interval=default_poll_interval(), deadline=time.time() + timeout, log=log)


def write_job(job: Job, output: str) -> None:
    """Print the record of a job."""
    record: dict[str, Any] = job.to_json()
    if output == "json":
        write_json(record)
    else:
        write_record(record)


def style_of_status(text: str) -> str:
    """Return rich's style of a status; of any other text none."""
    return {"Done": "green", "Failed": "red"}.get(text, "")


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S %Z}"
