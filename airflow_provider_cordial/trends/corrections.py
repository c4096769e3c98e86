"""Corrections: where a load records what it changes of the known numbers, and how much it may change. No I/O."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

from airflow_provider_cordial.exceptions import ExcessiveChangeError, InvalidExportError
from airflow_provider_cordial.trends.batch import LoadResult, OnBlank, TrendsBatch
from airflow_provider_cordial.trends.columns import Columns

#: How many changes an error names.
SHOWN = 5

#: Digits of the share in a result.
_DIGITS = 4


class KnownCell(NamedTuple):
    """A cell of which table and file have a number."""

    audience: str
    day: date
    old: int
    new: int

    @property
    def size(self) -> int:
        """By how much the number changes."""
        return abs(self.new - self.old)

    def __str__(self) -> str:
        # Some databases have no dates.
        return f"{self.audience!r} on {str(self.day)[:10]}: {self.old:,} -> {self.new:,}"


@dataclass(frozen=True, slots=True)
class Change:
    """How much a load changes, over the cells of which file and table have a number.

    :param known: the sum of the table's numbers.
    :param changed: the sum of the differences.
    """

    known: int = 0
    changed: int = 0

    @property
    def share(self) -> float:
        """The changed part of what is known; infinite if only zeros change."""
        if not self.changed:
            return 0.0
        return self.changed / self.known if self.known else math.inf


def corrections_table(table: str) -> str:
    """Return the name of the table that records the corrections of a table."""
    return f"{table}_corrections"


def corrections_columns(columns: Columns) -> dict[str, str]:
    """Return the columns of the corrections table, in the order of a row, each with the column whose type it has.

    :raises InvalidExportError: two columns have the same name.
    """
    audience, day, contacts, job_id, loaded_at = columns.of_table[:5]
    mine = [
        (audience, audience),
        (day, day),
        (f"old_{contacts}", contacts),
        (f"new_{contacts}", contacts),
        (job_id, job_id),
        ("corrected_at", loaded_at),
        *((name, name) for name in columns.scope),
    ]
    names = [name for name, _ in mine]
    if len({name.lower() for name in names}) < len(names):
        msg = f"Duplicate column name in the corrections table: {', '.join(names)}. Rename one in the Columns."
        raise InvalidExportError(msg)
    return dict(mine)


def validate_corrections(corrections: Any, max_change: Any, columns: Columns) -> None:
    """Reject parameters that no load can have.

    :raises InvalidExportError: a parameter is invalid.
    """
    if not isinstance(corrections, bool):
        msg = f"Invalid corrections {corrections!r}: use True or False."
        raise InvalidExportError(msg)
    if corrections:
        corrections_columns(columns)
    is_number = isinstance(max_change, int | float) and not isinstance(max_change, bool)
    if max_change is not None and not (is_number and 0 <= max_change < math.inf):
        msg = f"Invalid max_change {max_change!r}: expected a number of at least 0, such as 0.5 for 50%, or None."
        raise InvalidExportError(msg)


def is_corrected(new: str, old: str, on_blank: OnBlank) -> str:
    """Return the SQL condition for a cell that is recorded.

    :param new: the file's number.
    :param old: the table's number.
    """
    lost = f" OR ({new} IS NULL AND {old} IS NOT NULL)" if on_blank == "replace" else ""
    return f"({new} <> {old}{lost})"


def difference(new: str, old: str) -> str:
    """Return the SQL of how much a number changes; NULL where one of the two is missing."""
    # Without ABS: a column may be unsigned.
    return f"CASE WHEN {new} > {old} THEN {new} - {old} ELSE {old} - {new} END"


def change_sums(new: str, old: str, batch: TrendsBatch) -> dict[str, str]:
    """Return the SQL of the sums of a ``Change``; nothing if the batch has no bound."""
    if batch.max_change is None:
        return {}
    known = f"CASE WHEN {new} IS NOT NULL THEN {old} END"
    return {"known": f"COALESCE(SUM({known}), 0)", "changed": f"COALESCE(SUM({difference(new, old)}), 0)"}


def count_corrected(found: Mapping[str, int], batch: TrendsBatch) -> int:
    """Return how many cells of a comparison are to be recorded.

    :param found: the counts of a comparison with the table, as in ``LoadResult.of_counts``.
    """
    if not batch.corrections:
        return 0
    return found["corrected"] + (found["lost"] if batch.on_blank == "replace" else 0)


def measure(cells: Iterable[KnownCell]) -> tuple[Change, list[KnownCell]]:
    """Return how much cells change in total, and the largest changes."""
    known = changed = 0
    largest: list[tuple[int, int, KnownCell]] = []
    for place, cell in enumerate(cells):
        known += cell.old
        changed += cell.size
        if cell.size:
            heapq.heappush(largest, (cell.size, -place, cell))
            if len(largest) > SHOWN:
                heapq.heappop(largest)
    return Change(known, changed), [cell for *_, cell in sorted(largest, reverse=True)]


def check_change(table: str, change: Change, batch: TrendsBatch, largest: Callable[[], Iterable[KnownCell]]) -> float:
    """Return the share that a load changes, rounded.

    :param largest: returns the largest changes, for the error.
    :raises ExcessiveChangeError: the share is above the bound of the batch.
    """
    bound = batch.max_change
    if bound is None or change.share <= bound:
        return round(change.share, _DIGITS)
    what = (
        f"{_percent(change.share)} of the known contacts in {table!r}"
        if change.known
        else f"the known contacts in {table!r} from 0 to {change.changed:,}"
    )
    msg = (
        f"The load would change {what}, above max_change {100 * bound:.10g}%. The largest changes: "
        f"{'; '.join(map(str, largest()))}. The rows of the table are as before. If the change is right, raise "
        "max_change, or load without it."
    )
    raise ExcessiveChangeError(msg, table=table)


def bounded(
    table: str,
    result: LoadResult,
    found: Mapping[str, int],
    batch: TrendsBatch,
    largest: Callable[[], Iterable[KnownCell]],
) -> LoadResult:
    """Return the result of a comparison with the share that changes, if the batch has a bound.

    :param found: has the ``change_sums``.
    :raises ExcessiveChangeError: see ``check_change``.
    """
    if batch.max_change is None:
        return result
    return replace(result, change=check_change(table, Change(found["known"], found["changed"]), batch, largest))


def _percent(share: float) -> str:
    # Rounded up: never the bound itself.
    return f"{math.ceil(round(1000 * share, 6)) / 1000:,.1%}".replace(".0%", "%")
