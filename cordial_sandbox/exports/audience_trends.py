"""The Audience Trends export: one row per audience, one column per day.

Source: Cordial, "Audience Trends export API". The rest of the format is not documented and thus configurable.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from cordial_sandbox.accounts import Account, Audience
from cordial_sandbox.exports.kind import Content, ExportKind, Rendered
from cordial_sandbox.exports.records import compress
from cordial_sandbox.trends import contacts_until, days_between
from cordial_sandbox.validation import BAD_EXPORT, ApiError, parse_timeframe

#: Not documented: how many audiences an export may have.
MAX_AUDIENCES = 1_000
#: Not documented: how many cells a file of the sandbox may have.
MAX_CELLS = 3_000_000


def parse(body: Mapping[str, Any], account: Account) -> Mapping[str, Any]:
    start, end = (moment.date() for moment in parse_timeframe(body, _parse_day))
    audiences = _parse_audiences(body.get("audiences"), account)
    if ((end - start).days + 1) * len(audiences) > MAX_CELLS:
        # inferred
        raise ApiError(BAD_EXPORT, f"The export may have at most {MAX_CELLS} audiences times days.")
    return {
        "selected_timeframe_start": start.isoformat(),
        "selected_timeframe_end": end.isoformat(),
        "audiences": audiences,
    }


def render(request: Mapping[str, Any], content: Content) -> Rendered:
    known = content.account.audiences_by_name
    # An audience that was removed after the request has no snapshots.
    audiences = [known.get(name) or Audience(name=name, sizes={}) for name in request["audiences"]]
    start, end = (date.fromisoformat(request[f"selected_timeframe_{edge}"]) for edge in ("start", "end"))
    behaviour = content.behaviour
    count = 1 if behaviour.csv_override is not None else min(behaviour.csv_parts, len(audiences))
    bounds = [len(audiences) * number // count for number in range(count + 1)]
    parts = [trends_csv(audiences[first:stop], start, end, content) for first, stop in pairwise(bounds)]
    if behaviour.csv_gzip:
        return Rendered(tuple(compress(part) for part in parts), behaviour.part_suffix, ".gz")
    return Rendered(tuple(parts), behaviour.part_suffix)


def trends_csv(audiences: Sequence[Audience], start: date, end: date, content: Content) -> bytes:
    """Return the CSV of an export."""
    behaviour = content.behaviour
    if behaviour.csv_override is not None:
        return behaviour.csv_override.encode()
    days = days_between(start, end)
    if behaviour.future_days == "omit":
        days = [day for day in days if day < content.today]
    sizes = {
        audience.name: [
            None if day in content.missing_days else contacts_until(audience, day, content.today) for day in days
        ]
        for audience in audiences
    }
    kept: Sequence[int] = range(len(days))
    if behaviour.csv_missing == "drop_column":
        kept = [n for n in kept if any(row[n] is not None for row in sizes.values())]
    missing = "null" if behaviour.csv_missing == "null" else ""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n" if behaviour.csv_crlf else "\n")
    writer.writerow([behaviour.csv_audience_column, *(days[n].strftime(behaviour.csv_date_format) for n in kept)])
    for name, row in sizes.items():
        writer.writerow([name, *(missing if row[n] is None else row[n] for n in kept)])
    return text.getvalue().encode("utf-8-sig" if behaviour.csv_bom else "utf-8")


def _parse_day(text: str) -> datetime:
    # The day as it is written, whatever the offset.
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _parse_audiences(names: Any, account: Account) -> list[str]:
    if not isinstance(names, list) or not names:
        raise ApiError(BAD_EXPORT, "Field 'audiences' should be provided.")
    if len(names) > MAX_AUDIENCES:
        raise ApiError(BAD_EXPORT, f"The export may have at most {MAX_AUDIENCES} audiences.")  # inferred
    for name in names:
        audience = account.audiences_by_name.get(name) if isinstance(name, str) else None
        if audience is None:
            raise ApiError(BAD_EXPORT, f"Audience '{name}' does not exist.")
        if not audience.analytics:
            raise ApiError(BAD_EXPORT, f"For Audience '{name}' analytics disabled.")
    return list(names)


AUDIENCE_TRENDS = ExportKind(
    path="audiencetrendsexport",
    types=("csv",),
    parse=parse,
    render=render,
    config_status=BAD_EXPORT,
    members=frozenset({"selected_timeframe_start", "selected_timeframe_end", "audiences"}),
)
