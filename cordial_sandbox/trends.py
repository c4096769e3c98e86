"""The account's audiences, their daily snapshots, and the CSV of an export, as pure functions."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cordial_sandbox.settings import Behaviour

_SEED = "cordial-sandbox"
#: One in so many snapshots is missing.
_MISSING_RATIO = 50


@dataclass(frozen=True, slots=True)
class Audience:
    """A saved audience.

    :param analytics: whether Audience Trend analytics is enabled.
    :param since: day of its first snapshot.
    :param complete: whether it has a snapshot for every day.
    """

    name: str
    analytics: bool = True
    since: date = date(2020, 1, 1)
    complete: bool = False


AUDIENCES = {
    audience.name: audience
    for audience in (
        Audience("opened_last_30_days", complete=True),
        Audience("clicked_last_30_days"),
        Audience("purchased_last_30_days", complete=True),
        Audience("new_subscribers"),
        Audience("lapsed_customers"),
        Audience('Käufer, "Gold"'),
        Audience("recently_tracked", since=date(2026, 1, 1)),
        Audience("vip", analytics=False),
        Audience("staff", analytics=False),
    )
}


def contacts(audience: Audience, day: date) -> int | None:
    """Return an audience's size in the snapshot of a day, or None without one; the result never changes."""
    if day < audience.since or (not audience.complete and _hash(audience.name, day, "missing") % _MISSING_RATIO == 0):
        return None
    base = 2_000 + _hash(audience.name, "base") % 60_000
    slope = (_hash(audience.name, "slope") % 200 - 60) / 100_000
    age = (day - audience.since).days
    week = 1 + 0.02 * math.sin(2 * math.pi * day.weekday() / 7)
    noise = 1 + (_hash(audience.name, day, "noise") % 1000 - 500) / 100_000
    return max(0, round(base * (1 + slope * age) * week * noise))


def days_between(start: date, end: date) -> list[date]:
    """Return the days from start to end, inclusive."""
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def trends_csv(names: Sequence[str], start: date, end: date, behaviour: Behaviour) -> bytes:
    """Return the CSV of an export: one row per audience, one column per day.

    Source: Cordial, "Audience Trends export API". The rest of the format is not documented and thus configurable.
    """
    if behaviour.csv_override is not None:
        return behaviour.csv_override.encode()
    days = days_between(start, end)
    sizes = {name: [contacts(AUDIENCES[name], day) for day in days] for name in names}
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


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr((_SEED, *map(str, parts))).encode()).digest()[:6])
