"""Hooks of Schemathesis for ``conformance.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import schemathesis  # type: ignore[import-not-found,unused-ignore]


@schemathesis.hook  # type: ignore[untyped-decorator,unused-ignore]
def filter_query(_context: Any, query: Mapping[str, Any] | None) -> bool:
    """Leave out a parameter that is an empty list: it is not sent, so the request would be valid."""
    return all(value not in ([], {}) for value in (query or {}).values())
