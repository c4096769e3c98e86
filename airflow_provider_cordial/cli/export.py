"""``airflow cordial export``: submit one export."""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_cordial.cli.command import command
from airflow_provider_cordial.cli.inputs import read_audiences, read_destination
from airflow_provider_cordial.cli.jobs import wait
from airflow_provider_cordial.cli.output import write_json, write_record
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import SubmittedExport, validate_name
from airflow_provider_cordial.exports.identity import Attempt, Identity
from airflow_provider_cordial.exports.submission import Submission
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.hooks.cordial import CordialHook


@command
def export(args: Namespace) -> None:
    """Submit an export, print its record, and wait for its job if that is requested."""
    hook = CordialHook(args.cordial_conn_id)
    value = AudienceTrendsExport(
        name=validate_name(args.name),
        audiences=tuple(read_audiences(args)),
        timeframe=Timeframe(args.start, args.end),
        destination=read_destination(args.destination),
        timezone=hook.connection.timezone.key,
    )
    value.timeframe.require_over(hook.connection.timezone)
    submitted = submit(hook, value, skip_refused=args.skip_refused)
    # Before the wait, which may be interrupted.
    record = submitted.to_json()
    if args.output == "json":
        write_json(record)
    else:
        write_record(record)
    if args.wait:
        wait(hook, submitted.job_id, args.timeout)


def submit(hook: CordialHook, value: AudienceTrendsExport, *, skip_refused: bool) -> SubmittedExport:
    """Submit an export exactly once within this process; a digest that nothing else has follows its name.

    :raises CordialError: see ``Submission.run``.
    """
    return Submission(
        hook, value, Identity.without_task(), Attempt(try_number=1), store=None, skip_refused=skip_refused
    ).run()
