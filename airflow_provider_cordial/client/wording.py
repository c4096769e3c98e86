"""Words that messages share."""

from __future__ import annotations


def count_of(number: int, what: str) -> str:
    """Return a number of things as text.

    :param what: one of them, whose plural ends in s.
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
