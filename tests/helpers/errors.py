"""Patterns for the text of an error, which has a line per sentence."""

from __future__ import annotations

import re


def in_lines(pattern: str) -> str:
    """Return a pattern for sentences in a row as one for sentences in lines."""
    return "(?s)" + re.sub(r"\\?([.:]) ", r"\\\1\\s", pattern).replace(".* ", r".*\s")
