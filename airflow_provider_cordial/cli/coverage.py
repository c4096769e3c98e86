"""``airflow cordial gaps``, ``plan``, ``freshness``, and ``heatmap``: what a table has, and which exports it needs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from airflow_provider_cordial.cli import heatmap as pictures
from airflow_provider_cordial.cli.command import FAILED, command
from airflow_provider_cordial.cli.inputs import ask_corrections, ask_table, read_days
from airflow_provider_cordial.cli.output import build_console, write_json, write_line, write_table
from airflow_provider_cordial.client.wording import count_of
from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.exports.timeframe import ONE_DAY, Timeframe
from airflow_provider_cordial.trends.coverage import Coverage
from airflow_provider_cordial.trends.plan import PlannedExport, describe_days, find_holes, plan_exports


@command
def gaps(args: Namespace) -> int:
    """List the days that a table lacks; 1 if there are some."""
    found = ask_table(args)
    if args.output == "json":
        write_json(gaps_to_json(found))
    else:
        write_gaps(found, args.table)
    return 0 if found.is_complete else FAILED


def gaps_to_json(found: Coverage) -> dict[str, Any]:
    """Return the days that a table lacks as JSON."""
    missing, blanks = found.missing(), found.blanks()
    return {
        "timeframe": found.timeframe.to_json(),
        "counts": found.counts(),
        "audiences": [
            {
                "audience": audience,
                "expected": len(found.days_of(audience)),
                "missing": [day.isoformat() for day in missing.get(audience, ())],
                "blank": [day.isoformat() for day in blanks.get(audience, ())],
            }
            for audience in found.expected
        ],
    }


def write_gaps(found: Coverage, table: str) -> None:
    """Print the audiences that lack days, or have blank ones."""
    missing, blanks = found.missing(), found.blanks()
    rows = [
        (audience, len(found.days_of(audience)), *(describe_days(days.get(audience, ())) for days in (missing, blanks)))
        for audience in found.expected
        if audience in missing or audience in blanks
    ]
    write_line(f"{table}, {found.timeframe}, {count_of(len(found.expected), 'audience')}: {describe_counts(found)}")
    if rows:
        write_table(rows, ("audience", "days", "missing", "blank"))


def describe_counts(found: Coverage) -> str:
    """Return the numbers of loaded, blank, and missing cells as text."""
    return ", ".join(f"{count} {name}" for name, count in found.counts().items())


def make_plan(args: Namespace, found: Coverage) -> list[PlannedExport]:
    """Return the exports that fill the gaps."""
    holes = find_holes(found, look_back=args.look_back, ask_blanks_again=args.ask_blanks_again)
    return plan_exports(holes, max_days=args.max_days, max_audiences=args.max_audiences)


@command
def plan(args: Namespace) -> None:
    """List the exports that fill the gaps."""
    exports = make_plan(args, ask_table(args))
    if args.output == "json":
        write_json([one.to_json() for one in exports])
        return
    rows = [(one.timeframe.start, one.timeframe.end, len(one.audiences), ", ".join(one.audiences)) for one in exports]
    cells = sum(one.cells for one in exports)
    write_line(f"{count_of(len(exports), 'export')}, {count_of(cells, 'cell')}")
    if rows:
        write_table(rows, ("start", "end", "count", "audiences"))


@command
def freshness(args: Namespace) -> int:
    """List the newest day of each audience; 1 if some are stale."""
    days = read_days(args)
    # The newest day can be later than the expected one, if it has arrived sooner than the lag.
    found = ask_table(args, Timeframe(days.start, days.end + (args.lag - 1) * ONE_DAY))
    newest, stale = found.newest(), found.stale(days.end)
    if args.output == "json":
        texts = {audience: day and day.isoformat() for audience, day in newest.items()}
        write_json({"expected": days.end.isoformat(), "newest": texts, "stale": sorted(stale)})
    else:
        audiences = count_of(len(newest), "audience")
        write_line(f"{args.table}, {audiences}, expected {days.end}: {len(stale)} stale")
        rows = [
            (audience, day or "none", "stale" if audience in stale else "fresh" if day else "not expected")
            for audience, day in newest.items()
        ]
        write_table(rows, ("audience", "newest", "state"), style=lambda text: {"stale": "red"}.get(text, ""))
    return FAILED if stale else 0


@command
def heatmap(args: Namespace) -> None:
    """Show which days of which audiences a table has."""
    found = ask_table(args)
    shown = pictures.Heatmap(
        found, f"{args.table}, {found.timeframe}", ask_corrections(args, found) if args.corrections else None
    )
    if args.html:
        _write_page(args.html, pictures.draw_page(shown))
    if args.output == "json":
        write_json(pictures.to_json(shown))
    elif not args.html:
        console = build_console()
        console.print(pictures.draw_text(shown, width=console.width))


def _write_page(name: str, page: str) -> None:
    try:
        Path(name).write_text(page, encoding="utf-8")
    except OSError as error:
        msg = f"Cannot write {name!r}: {error.strerror}."
        raise InvalidParameterError(msg) from None
