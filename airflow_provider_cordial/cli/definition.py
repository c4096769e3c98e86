"""The commands of ``airflow cordial`` and their options."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Any

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

_PACKAGE = "airflow_provider_cordial.cli"


def parse_day(text: str) -> date:
    """Return a day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        msg = f"invalid day {text!r}: expected a date such as 2026-01-31"
        raise argparse.ArgumentTypeError(msg) from None


def parse_first_day(text: str) -> date | int:
    """Return a day, or a number of days."""
    return parse_number(text) if text.isdecimal() else parse_day(text)


def parse_number(text: str) -> int:
    """Return a number above 0."""
    if not text.isdecimal() or not int(text):
        msg = f"invalid number {text!r}: expected a whole number above 0"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def parse_count(text: str) -> int:
    """Return a number that can be 0."""
    return 0 if text == "0" else parse_number(text)


def parse_seconds(text: str) -> float:
    """Return a duration."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        msg = f"invalid duration {text!r}: expected seconds above 0"
        raise argparse.ArgumentTypeError(msg)
    return seconds


def parse_pair(text: str) -> tuple[str, str]:
    """Return the parts of ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        msg = f"invalid pair {text!r}: expected NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def option(*flags: str, **settings: Any) -> Arg:
    """Return an option, or an argument, as argparse defines it."""
    return Arg(flags, **settings)  # type: ignore[no-untyped-call]


def changed(known: Arg, **settings: Any) -> Arg:
    """Return an option with other settings."""
    return option(*known.flags, **{**known.kwargs, **settings})


CORDIAL_CONN_ID = option(
    "--cordial-conn-id",
    default="cordial_default",
    metavar="CONN_ID",
    help="the Airflow connection to Cordial (default: %(default)s)",
)
OUTPUT = option(
    "-o", "--output", choices=("table", "json"), default="table", help="how to print (default: %(default)s)"
)
JOB_ID = option("job_id", help="the id of a job in Cordial")
TIMEOUT = option(
    "--timeout",
    type=parse_seconds,
    default=86400.0,
    metavar="SECONDS",
    help="seconds after which a wait ends (default: a day)",
)

AUDIENCE = option("--audience", action="append", dest="audiences", metavar="NAME", help="a saved audience; repeatable")
AUDIENCES_FILE = option(
    "--audiences-file",
    metavar="FILE",
    help="the audiences, one name per line; or JSON (FILE.json): a list, or an object with each audience's first day",
)
DESTINATION = option(
    "--destination",
    nargs="+",
    metavar=("TYPE", "KEY=VALUE"),
    help="where Cordial delivers, for example: sftp conn_id=sftp_default path=exports; or the output of a "
    "destination's to_json as JSON",
)
NAME = option(
    "--name",
    default="audience-trends",
    help="the start of the export's name and of the file's; a unique digest follows (default: %(default)s)",
)
SKIP_REFUSED = option("--skip-refused", action="store_true", help="export without the audiences that Cordial refuses")

WAREHOUSE_CONN_ID = option(
    "--warehouse-conn-id", "--conn-id", dest="conn_id", metavar="CONN_ID", help="the Airflow connection to the table"
)
NEEDED_WAREHOUSE_CONN_ID = changed(WAREHOUSE_CONN_ID, required=True)
TABLE = option("--table", default="audience_trends", help="table or schema.table (default: %(default)s)")
COLUMN = option(
    "--column",
    action="append",
    type=parse_pair,
    default=[],
    metavar="COLUMN=NAME",
    help="another name of a column, snapshot_date=day for example; repeatable",
)
SCOPE = option(
    "--scope",
    action="append",
    type=parse_pair,
    default=[],
    metavar="COLUMN=TEXT",
    help="a column of the scope, and its text; repeatable",
)
CONSTANT = option(
    "--constant",
    action="append",
    type=parse_pair,
    default=[],
    metavar="COLUMN=TEXT",
    help="a constant column, and its text; repeatable",
)
STAGING = option("--staging", metavar="LOCATION", help="where a load leaves its file, for a warehouse that needs that")
STAGING_CONN_ID = option("--staging-conn-id", metavar="CONN_ID", help="the Airflow connection to the staging location")
CREATE_TABLE = option("--create-table", action="store_true", help="create the table if it does not exist")

FIRST_DAY = option(
    "--first-day", type=parse_first_day, required=True, metavar="DAY", help="a date, or a number of days"
)
LAST_DAY = option(
    "--last-day", type=parse_day, metavar="DAY", help="by default the last day that is over in the account"
)
LAG = option(
    "--lag",
    type=parse_count,
    default=1,
    metavar="DAYS",
    help="how many days after a day its snapshot is expected, without --last-day (default: %(default)s)",
)
MAX_DAYS = option(
    "--max-days", type=parse_number, default=31, metavar="NUMBER", help="days of an export (default: %(default)s)"
)
MAX_AUDIENCES = option(
    "--max-audiences",
    type=parse_number,
    default=100,
    metavar="NUMBER",
    help="audiences of an export (default: %(default)s)",
)
LOOK_BACK = option(
    "--look-back",
    type=parse_count,
    default=0,
    metavar="DAYS",
    help="also the last days, although they are loaded: for late corrections",
)
ASK_BLANKS_AGAIN = option(
    "--ask-blanks-again",
    type=parse_count,
    default=0,
    metavar="DAYS",
    help="also the blanks of the last days: for late snapshots",
)

_TABLE = (NEEDED_WAREHOUSE_CONN_ID, TABLE, COLUMN, SCOPE, STAGING, STAGING_CONN_ID)
_DAYS = (AUDIENCE, AUDIENCES_FILE, FIRST_DAY, LAST_DAY, LAG, CORDIAL_CONN_ID)
_PLAN = (MAX_DAYS, MAX_AUDIENCES, LOOK_BACK, ASK_BLANKS_AGAIN)

JOBS = GroupCommand(
    name="jobs",
    help="List, show, and await jobs",
    subcommands=(
        ActionCommand(
            name="list",
            help="List the jobs of the account",
            description="List the jobs of the account, in Cordial's order.",
            func=lazy_load_command(f"{_PACKAGE}.jobs.list_jobs"),
            args=(
                CORDIAL_CONN_ID,
                OUTPUT,
                option(
                    "--limit",
                    type=parse_number,
                    default=20,
                    metavar="NUMBER",
                    help="jobs to list (default: %(default)s)",
                ),
                option("--status", help="only jobs of this status: Done, for example"),
                option("--name", metavar="TEXT", help="only exports whose name contains the text"),
            ),
        ),
        ActionCommand(
            name="show",
            help="Show the record of a job",
            func=lazy_load_command(f"{_PACKAGE}.jobs.show_job"),
            args=(JOB_ID, CORDIAL_CONN_ID, OUTPUT),
        ),
        ActionCommand(
            name="wait",
            help="Wait until a job is Done",
            description="Wait until a job is Done. Exits with 1 if it Failed, or has not ended at the timeout.",
            func=lazy_load_command(f"{_PACKAGE}.jobs.await_job"),
            args=(JOB_ID, TIMEOUT, CORDIAL_CONN_ID, OUTPUT),
        ),
    ),
)

COMMANDS = (
    ActionCommand(
        name="doctor",
        help="Check connections, destination, table, and triggerer",
        description="Check what an export and a load need. Nothing is submitted, and nothing is written. Exits with 1 "
        "if a check has failed.",
        func=lazy_load_command(f"{_PACKAGE}.doctor.doctor"),
        args=(CORDIAL_CONN_ID, DESTINATION, WAREHOUSE_CONN_ID, TABLE, COLUMN, SCOPE, STAGING, STAGING_CONN_ID, OUTPUT),
    ),
    JOBS,
    ActionCommand(
        name="export",
        help="Submit an export, and print what a load takes",
        description="Submit one export, and print its job id and the record that a load takes. Each call is another "
        "export: unlike a task, a command does not resume the one before.",
        func=lazy_load_command(f"{_PACKAGE}.export.export"),
        args=(
            AUDIENCE,
            AUDIENCES_FILE,
            option("--start", type=parse_day, required=True, metavar="DAY", help="the first day"),
            option("--end", type=parse_day, required=True, metavar="DAY", help="the last day, included"),
            DESTINATION,
            NAME,
            SKIP_REFUSED,
            option("--wait", action="store_true", help="wait until the job is Done"),
            TIMEOUT,
            CORDIAL_CONN_ID,
            changed(OUTPUT, default="json"),
        ),
    ),
    ActionCommand(
        name="adopt",
        help="Give a task whose submission is uncertain its job",
        description="Give a failed export task the job that it has submitted: write the job's id to the conf of the "
        "run, and clear the task, and the tasks that failed because of it. The task resumes the job, and submits "
        "nothing. For a task that failed with SubmissionUncertainError.",
        func=lazy_load_command(f"{_PACKAGE}.adopt.adopt"),
        args=(
            option("dag_id", help="the id of the DAG"),
            option("run_id", help="the id of the run"),
            option("task_id", help="the id of the export task"),
            JOB_ID,
            option("--map-index", type=parse_count, help="which task instance of a mapped task"),
            CORDIAL_CONN_ID,
            OUTPUT,
        ),
    ),
    ActionCommand(
        name="gaps",
        help="List the days that a table lacks",
        description="List the days that a table lacks, per audience. Exits with 1 if there are some.",
        func=lazy_load_command(f"{_PACKAGE}.coverage.gaps"),
        args=(*_TABLE, *_DAYS, OUTPUT),
    ),
    ActionCommand(
        name="plan",
        help="List the exports that fill the gaps of a table",
        func=lazy_load_command(f"{_PACKAGE}.coverage.plan"),
        args=(*_TABLE, *_DAYS, *_PLAN, OUTPUT),
    ),
    ActionCommand(
        name="fill",
        help="Fill the gaps of a table: export, wait, and load",
        description="Run the plan: submit, wait for, and load each of its exports, the newest days first. A call "
        "after a crash exports what is still missing. Exits with 1 if something is still missing at the end.",
        func=lazy_load_command(f"{_PACKAGE}.fill.fill"),
        args=(
            *_TABLE,
            CONSTANT,
            CREATE_TABLE,
            *_DAYS,
            *_PLAN,
            DESTINATION,
            NAME,
            SKIP_REFUSED,
            option(
                "--on-blank",
                choices=("keep", "replace"),
                default="keep",
                help="what happens to a number of the table where the file is blank (default: %(default)s)",
            ),
            option(
                "--at-a-time",
                type=parse_number,
                default=1,
                metavar="NUMBER",
                help="exports that run in Cordial at the same time (default: %(default)s)",
            ),
            TIMEOUT,
            option("-y", "--yes", action="store_true", help="do not ask before many exports"),
            OUTPUT,
        ),
    ),
    ActionCommand(
        name="heatmap",
        help="Show which days of which audiences a table has",
        description="Show which days of which audiences a table has: in the terminal, or as an HTML page.",
        func=lazy_load_command(f"{_PACKAGE}.coverage.heatmap"),
        args=(
            *_TABLE,
            *_DAYS,
            option("--html", metavar="FILE", help="write a page, which needs no other file"),
            OUTPUT,
        ),
    ),
)


def get_commands() -> list[GroupCommand]:
    """Return the group ``cordial``, for ``airflow``."""
    return [
        GroupCommand(
            name="cordial",
            help="Export Cordial's Audience Trends, and check what is loaded",
            subcommands=COMMANDS,
        )
    ]
