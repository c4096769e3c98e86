"""``airflow cordial reconcile``: export again, and compare the file with the table."""

from __future__ import annotations

import csv
import logging
import os
import secrets
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_cordial.cli.command import FAILED, command
from airflow_provider_cordial.cli.export import submit
from airflow_provider_cordial.cli.inputs import read_audiences, read_days, read_destination, read_table
from airflow_provider_cordial.cli.jobs import wait
from airflow_provider_cordial.cli.output import write_json, write_line, write_table
from airflow_provider_cordial.client.wording import count_of
from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import validate_name
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.trends.delivery import open_delivered_trends
from airflow_provider_cordial.trends.reconcile import REPORT_COLUMNS, Comparison, Difference, pick_sample
from airflow_provider_cordial.trends.tables.base import TrendsTable

log = logging.getLogger(__name__)

#: Differences that are printed.
_SHOWN = 20


@command
def reconcile(args: Namespace) -> int:
    """Compare the table with a new export; 1 if they differ."""
    hook = CordialHook(args.cordial_conn_id)
    audiences = tuple(read_audiences(args))
    export = AudienceTrendsExport(
        name=validate_name(args.name),
        audiences=pick_sample(audiences, args.sample, seed=secrets.token_hex()) if args.sample else audiences,
        timeframe=read_days(args),
        destination=read_destination(args.destination),
        timezone=hook.connection.timezone.key,
    )
    export.timeframe.require_over(hook.connection.timezone)
    table = read_table(args)
    _require_readable(table, export)
    with _open_report(args.report) as write:
        submitted = submit(hook, export, skip_refused=args.skip_refused)
        wait(hook, submitted.job_id, args.timeout)
        comparison = Comparison(max_first=_SHOWN)
        with open_delivered_trends(submitted.to_json()) as trends:
            for difference in trends.differences(table):
                comparison.add(difference)
                write(difference)
    spool = trends.spool
    if args.output == "json":
        write_json(
            {
                "timeframe": export.timeframe.to_json(),
                "audiences": [*spool.audiences],
                "compared": spool.cells,
                **comparison.counts,
                **trends.export.refusals(),
                "differences": comparison.cells,
                "truncated": comparison.is_truncated,
                "file": trends.path,
                "job_id": submitted.job_id,
            }
        )
    else:
        what = f"{args.table}, {export.timeframe}, {count_of(len(spool.audiences), 'audience')}"
        _write_comparison(comparison, f"{what}: {count_of(spool.cells, 'cell')} compared")
    return FAILED if comparison.total else 0


def _require_readable(table: TrendsTable, export: AudienceTrendsExport) -> None:
    """Read a cell: a table that cannot be read is an error before anything is exported.

    :raises TableError: the table cannot be read.
    """
    day = export.timeframe.end
    for _ in table.cells(export.audiences[:1], Timeframe(day, day)):
        pass


@contextmanager
def _open_report(name: str | None) -> Iterator[Callable[[Difference], object]]:
    """Yield what writes a row of the report, which replaces an earlier one when it is complete.

    :raises InvalidParameterError: the file cannot be written.
    """
    if name is None:
        yield lambda _: None
        return
    path = Path(name)
    if path.exists() and not path.is_file():
        msg = f"Cannot write {name!r}: it is not a file."
        raise InvalidParameterError(msg)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        file = unfinished.open("w", newline="", encoding="utf-8")
    except OSError as error:
        msg = f"Cannot write {name!r}: {error.strerror}."
        raise InvalidParameterError(msg) from None
    try:
        with file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(REPORT_COLUMNS)
            yield lambda difference: writer.writerow(difference.row)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_comparison(comparison: Comparison, what: str) -> None:
    """Print the first differences."""
    write_line(f"{what}, {comparison.describe() or 'all equal'}")
    if comparison.first:
        write_table((difference.row for difference in comparison.first), REPORT_COLUMNS)
    if comparison.total > len(comparison.first):
        more = count_of(comparison.total - len(comparison.first), "more difference")
        write_line(f"{more}: --report FILE.csv writes all of them")
