"""JobPages: read the list of jobs page by page; no I/O.

Cordial documents neither the order of the list, nor its largest page, nor what a page number past the end returns. So
only an empty page proves that the list has ended. A short page does not, and neither does a page that repeats the one
before: its number may have been ignored, or the list has moved by a page between the two requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_cordial.client.job import parse_ids

Row = Mapping[str, Any]

#: Guards against a list that never ends.
MAX_PAGES = 1000


class JobPages:
    """Which page to request next, and whether the whole list was read.

    :param max_pages: pages to read at most; a list that is longer is cut off, and proves nothing about what is missing.
    :param stop_at_short_page: whether a page with fewer rows than an earlier one ends the list. This saves a request
        where a missing row is looked up in another way.
    """

    def __init__(self, *, max_pages: int = MAX_PAGES, stop_at_short_page: bool = False) -> None:
        #: The page to request next; None once the list has ended or was cut off.
        self.next_page: int | None = 1
        #: Whether the end of the list was reached.
        self.is_complete = False
        #: Why the list has ended before its end was reached.
        self.cut_off = ""
        self._max_pages = max_pages
        self._stop_at_short_page = stop_at_short_page
        self._previous: Sequence[Row] = ()
        self._size = 0

    def add(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Take the rows of ``next_page`` and return those to use: none where the page only ends the list."""
        page = self.next_page
        assert page is not None, "the list has ended"  # noqa: S101 - a caller's error, not a server's
        if not rows:
            self._end()
            return ()
        if _is_same_page(rows, self._previous):
            self._end(cut_off=f"page {page} repeats the page before")
            return ()
        self._previous, self._size = rows, max(self._size, len(rows))
        if self._stop_at_short_page and len(rows) < self._size:
            self._end()
        elif page >= self._max_pages:
            self._end(cut_off=f"it is longer than {page} pages")
        else:
            self.next_page = page + 1
        return rows

    def _end(self, *, cut_off: str = "") -> None:
        self.next_page, self.is_complete, self.cut_off = None, not cut_off, cut_off


def _is_same_page(rows: Sequence[Row], previous: Sequence[Row]) -> bool:
    """Compare by ids: the status of a job may have changed between two requests for the same page."""
    # Lazily: two different pages usually differ in their first row.
    return len(rows) == len(previous) and all(map(_is_same_row, rows, previous))


def _is_same_row(row: Row, other: Row) -> bool:
    ids = parse_ids(row)
    return ids == parse_ids(other) if ids else row == other
