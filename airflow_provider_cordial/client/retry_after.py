"""How long an answer asks to wait."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Seconds that no wait reaches: a larger number is a moment since the epoch.
_EPOCH_LIKE = 1_000_000_000


def parse_retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds that Cordial asks to wait: ``Retry-After``, else ``X-Rate-Limit-Reset``, else None.

    Source: Cordial, "API rate limiting": both are seconds. A date in ``Retry-After``, which HTTP permits, is accepted.
    """
    for name in ("Retry-After", "X-Rate-Limit-Reset"):
        if (seconds := parse_seconds(headers.get(name, ""), now=now)) is not None:
            return seconds
    return None


def parse_seconds(value: str, *, now: datetime | None = None) -> float | None:
    """Return a wait in seconds from a header: a number, an HTTP date, or a moment as seconds since the epoch."""
    now = now or datetime.now(UTC)
    try:
        number = float(value)
    except ValueError:
        try:
            number = parsedate_to_datetime(value.strip()).timestamp()
        except (TypeError, ValueError):
            return None
        return max(0.0, number - now.timestamp())
    if not math.isfinite(number):
        return None
    return max(0.0, number - now.timestamp() if number >= _EPOCH_LIKE else number)
