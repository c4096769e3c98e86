"""The daily snapshots of audiences, as pure functions."""

from __future__ import annotations

import hashlib
import math
from datetime import date, timedelta

from cordial_sandbox.accounts import Audience

_SEED = "cordial-sandbox"
#: One in so many snapshots is missing.
_MISSING_RATIO = 50


def contacts(audience: Audience, day: date) -> int | None:
    """Return an audience's size in the snapshot of a day, or None without one; the result never changes."""
    if day < audience.since:
        return None
    if audience.sizes is None:
        return _generate(audience, day)
    return audience.sizes if isinstance(audience.sizes, int) else audience.sizes.get(day)


def contacts_until(audience: Audience, day: date, today: date) -> int | None:
    """Return the size in the snapshot of a day, which no day has before it is over."""
    return contacts(audience, day) if day < today else None


def days_between(start: date, end: date) -> list[date]:
    """Return the days from start to end, inclusive."""
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def _generate(audience: Audience, day: date) -> int | None:
    if not audience.complete and _hash(audience, day, "missing") % _MISSING_RATIO == 0:
        return None
    base = 2_000 + _hash(audience, "base") % 60_000
    slope = (_hash(audience, "slope") % 200 - 60) / 100_000
    age = (day - audience.since).days
    week = 1 + 0.02 * math.sin(2 * math.pi * day.weekday() / 7)
    noise = 1 + (_hash(audience, day, "noise") % 1000 - 500) / 100_000
    return max(0, round(base * (1 + slope * age) * week * noise))


def _hash(audience: Audience, *parts: object) -> int:
    seed = () if audience.seed is None else (audience.seed,)
    text = repr((_SEED, *map(str, (*seed, audience.name, *parts))))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
