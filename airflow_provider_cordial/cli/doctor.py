"""``airflow cordial doctor``: check what an export and a load need. Nothing is submitted, and nothing is written."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any, NamedTuple

from airflow_provider_cordial._compat import AirflowException
from airflow_provider_cordial.cli.command import FAILED, command
from airflow_provider_cordial.cli.inputs import read_columns, read_destination, read_staging
from airflow_provider_cordial.cli.output import write_json, write_table
from airflow_provider_cordial.client.airflow_connections import read_airflow_connection
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.client.wording import count_of
from airflow_provider_cordial.destinations import Destination
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    CordialError,
    FolderNotListedError,
    NoDownloadError,
    PermissionDeniedError,
    RateLimitError,
)
from airflow_provider_cordial.exports.timeframe import ONE_DAY
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.trends.tables import build_table

OK = "ok"
WARNING = "warning"
BROKEN = "failed"
NOT_CHECKED = "not checked"

_STYLES = {OK: "green", WARNING: "yellow", BROKEN: "bold red", NOT_CHECKED: "dim"}

#: Seconds for the destination to answer.
_TIMEOUT = 30.0


class Check(NamedTuple):
    """The result of a check.

    :param state: ``ok``, ``warning``, ``failed``, or ``not checked``.
    :param result: what was found.
    :param advice: what to do.
    """

    name: str
    state: str
    result: str
    advice: str = ""

    @classmethod
    def of_error(cls, name: str, error: Exception, state: str = BROKEN) -> Check:
        """Return the check that has found an error."""
        result, *advice = str(error).split("\n") or [type(error).__name__]
        return cls(name, state, result, " ".join(advice))


@command
def doctor(args: Namespace) -> int:
    """Print the checks; 1 if one has failed."""
    destination = read_destination(args.destination) if args.destination else None
    checks = [
        *check_cordial(CordialHook(args.cordial_conn_id)),
        *check_destination(destination),
        *check_table(args),
        *check_airflow(),
    ]
    if args.output == "json":
        write_json([check._asdict() for check in checks])
    else:
        rows = [(check.name, check.state, f"{check.result}\n{check.advice}".rstrip()) for check in checks]
        write_table(rows, ("check", "state", "result"), style=lambda text: _STYLES.get(text, ""))
    return FAILED if any(check.state == BROKEN for check in checks) else 0


def check_cordial(hook: CordialHook) -> Iterator[Check]:
    """Check the connection, the host, the key, and the list of jobs, until one of them fails."""
    later = ["host", "API key", "list of jobs"]
    try:
        connection = hook.connection
    except AirflowException as error:
        yield Check.of_error("connection", error)
        yield from (Check(name, NOT_CHECKED, "the connection is needed") for name in ["days", *later])
        return
    yield Check("connection", OK, f"{hook.cordial_conn_id}: {connection.base_url}")
    today = datetime.now(connection.timezone).date()
    yield Check("days", OK, f"in {connection.timezone.key} today is {today}, and the last day is {today - ONE_DAY}")
    try:
        jobs = hook.first_jobs()
    except CordialError as error:
        yield from _check_rejection(error, connection.base_url)
        return
    yield Check("host", OK, f"{connection.base_url} answers")
    yield Check("API key", OK, "accepted; whether it permits exports shows only when one is submitted")
    yield _check_jobs(jobs)


def _check_rejection(error: CordialError, base_url: str) -> Iterator[Check]:
    """Yield the check that an error ends, after the ones that it proves."""
    needed = Check("list of jobs", NOT_CHECKED, "an accepted request is needed")
    match error:
        case ConnectionFailedError():
            yield Check.of_error("host", error)
            yield Check("API key", NOT_CHECKED, "an answer is needed")
            yield needed
        case AuthenticationError() | PermissionDeniedError():
            yield Check("host", OK, f"{base_url} answers")
            yield Check.of_error("API key", error)
            yield needed
        case RateLimitError():
            yield Check("host", OK, f"{base_url} answers")
            yield Check("API key", NOT_CHECKED, "an accepted request is needed")
            yield Check.of_error("list of jobs", error, WARNING)
        case _:
            yield Check("host", OK, f"{base_url} answers")
            yield Check("API key", NOT_CHECKED, "an accepted request is needed")
            yield Check.of_error("list of jobs", error)


def _check_jobs(jobs: Sequence[Job]) -> Check:
    """Check what a search for a lost answer needs of the list."""
    name = "list of jobs"
    if not jobs:
        return Check(name, OK, "0 rows, so its format is not checked")
    exports = [job for job in jobs if job.may_be_export]
    unusual = {
        "without an id": sum(not job.id for job in jobs),
        "without the name of an export": sum(job.name is None for job in exports),
        "with an unknown status": sum(not job.is_known for job in jobs),
    }
    found = ", ".join(f"{count} {what}" for what, count in unusual.items() if count)
    result = f"{count_of(len(jobs), 'row')} on the first page"
    if not found:
        return Check(name, OK, f"{result}, each with an id, a status, and a name if it is an export")
    advice = "An export whose answer is lost can only be found by the name and the id in this list."
    return Check(name, WARNING, f"{result}: {found}", advice)


def check_destination(destination: Destination | None) -> Iterator[Check]:
    """Check what Cordial gets of a destination, and whether Airflow can read there."""
    names = ("destination for Cordial", "destination for Airflow")
    if destination is None:
        yield from (Check(name, NOT_CHECKED, "set --destination") for name in names)
        return
    cordial, airflow = names
    try:
        uri = destination.address().uri
    except AirflowException as error:
        yield Check.of_error(cordial, error)
    else:
        yield Check(cordial, OK, f"{uri}; whether Cordial can write there shows only when an export is submitted")
    try:
        with destination.reader(timeout=_TIMEOUT) as reader:
            files = reader.files(lambda _name: False)
    except (FolderNotListedError, NoDownloadError) as error:
        yield Check.of_error(airflow, error, WARNING)
    except AirflowException as error:
        yield Check.of_error(airflow, error)
    else:
        yield Check(airflow, OK, f"the folder can be listed, and has {count_of(len(files), 'file')}")


def check_table(args: Namespace) -> Iterator[Check]:
    """Check the type of the warehouse, and whether a load can use the table."""
    names = ("warehouse", "table")
    if not args.conn_id:
        yield from (Check(name, NOT_CHECKED, "set --warehouse-conn-id and --table") for name in names)
        return
    warehouse, table_name = names
    try:
        conn_type = read_airflow_connection(args.conn_id).conn_type
        table = build_table(args.conn_id, args.table, read_columns(args), staging=read_staging(args))
    except AirflowException as error:
        yield Check.of_error(warehouse, error)
        yield Check(table_name, NOT_CHECKED, "the warehouse is needed")
        return
    yield Check(warehouse, OK, f"{args.conn_id}: {conn_type}, loaded by {type(table).__name__}")
    try:
        table.probe()
    except AirflowException as error:
        yield Check.of_error(table_name, error)
    else:
        yield Check(table_name, OK, f"{args.table} exists, and has the columns and the key of a load")


def check_airflow() -> Iterator[Check]:
    """Check what Airflow itself has for exports and waits."""
    from airflow import __version__

    if find_spec("airflow.models.task_state_store"):
        yield Check("task state store", OK, f"Airflow {__version__} has one: a clear resumes a job that is live")
    else:
        result = f"Airflow {__version__} has none: a clear exports again although the job before is live"
        yield Check("task state store", WARNING, result, "Airflow 3.3 has one.")
    yield _check_triggerer()


def _check_triggerer(find: Callable[[], Any] | None = None) -> Check:
    try:
        job = (find or _find_triggerer)()
    except Exception as error:  # noqa: BLE001 - every driver has its own; a worker may reach no database at all
        # Only the class: the text may contain the address of the database.
        return Check("triggerer", NOT_CHECKED, f"Airflow's database cannot be read here ({type(error).__name__})")
    if job is not None and job.is_alive():
        return Check("triggerer", OK, "runs: deferrable exports and sensors wait there")
    advice = "Start it (airflow triggerer), or set deferrable=False, with which a wait occupies a worker."
    return Check("triggerer", WARNING, "does not run: a deferred task would wait without an end", advice)


def _find_triggerer() -> Any:
    from airflow.jobs.job import most_recent_job

    return most_recent_job("TriggererJob")
