"""Reconcile: what differs between a delivered file and a table, cell by cell. No I/O."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_cordial.exceptions import InvalidExportError

if TYPE_CHECKING:
    from airflow_provider_cordial.trends.csv import AudienceRow
    from airflow_provider_cordial.trends.tables.base import Cell

#: ``changed``: both have a number, and another one. ``missing``: only the file has one, and the table has no row.
#: ``blank``: only the file has one, and the row of the table is blank. ``lost``: only the table has one.
DifferenceKind = Literal["changed", "missing", "blank", "lost"]

#: Cells of the table that are in memory at the same time.
BATCH = 100_000

#: Cells of a comparison that are named in an XCom.
MAX_CELLS = 10_000

#: Differences of a comparison that are logged.
_LOGGED = 5

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell in which a table differs from a file.

    :param table: the number in the table, if there is one.
    :param file: the number in the file, if there is one.
    """

    audience: str
    snapshot_date: date
    kind: DifferenceKind
    table: int | None
    file: int | None

    def __str__(self) -> str:
        numbers = [f"{name} {number}" for name in ("table", "file") if (number := getattr(self, name)) is not None]
        return f"{self.audience!r} on {self.snapshot_date} {self.kind} ({', '.join(numbers)})"


def find_differences(
    rows: Iterable[AudienceRow],
    days: Sequence[date],
    read: Callable[[Sequence[str]], Iterable[Cell]],
    *,
    batch: int = BATCH,
) -> Iterator[Difference]:
    """Yield the cells of a file in which a table differs from it, in the order of the file.

    A blank cell of the file equals a blank row of the table and no row. If a table without a key has several rows of a
    cell, a number that differs from the file's counts.

    :param rows: of the file.
    :param days: of ``AudienceRow.contacts``, in their order.
    :param read: returns the rows that the table has of some audiences, on these days and perhaps on others.
    :param batch: how many cells to keep in memory.
    """
    if not days:
        return
    some: list[AudienceRow] = []
    for row in rows:
        some.append(row)
        if len(some) * len(days) >= batch:
            yield from _compare(some, days, read)
            some = []
    if some:
        yield from _compare(some, days, read)


def _compare(
    rows: Sequence[AudienceRow], days: Sequence[date], read: Callable[[Sequence[str]], Iterable[Cell]]
) -> Iterator[Difference]:
    file = {row.audience: dict(zip(days, row.contacts, strict=True)) for row in rows}
    table: dict[str, dict[date, int | None]] = {audience: {} for audience in file}
    for audience, day, number in read([*file]):
        if day in file[audience]:
            known = table[audience].get(day)
            if known is None or number not in (None, file[audience][day]):
                table[audience][day] = number
    for audience, cells in file.items():
        stored: Mapping[date, Any] = table[audience]
        for day, number in cells.items():
            if kind := _kind(stored.get(day, _ABSENT), number):
                yield Difference(audience, day, kind, stored.get(day), number)


def _kind(table: Any, file: int | None) -> DifferenceKind | None:
    if file is None:
        return None if table in (None, _ABSENT) else "lost"
    if table == file:
        return None
    if table is _ABSENT:
        return "missing"
    return "blank" if table is None else "changed"


@dataclass(slots=True)
class Comparison:
    """What a comparison found: everything counted, and a bounded part named.

    :param max_cells: how many cells to name.
    :param counts: the differences of each kind.
    :param cells: the days of the differences by audience, as ISO 8601 texts: what a plan takes.
    :param first: the first differences.
    """

    max_cells: int = MAX_CELLS
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(get_args(DifferenceKind), 0)))
    cells: dict[str, list[str]] = field(default_factory=dict)
    first: list[Difference] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        if self.total < self.max_cells:
            self.cells.setdefault(difference.audience, []).append(difference.snapshot_date.isoformat())
        if self.total < _LOGGED:
            self.first.append(difference)
        self.counts[difference.kind] += 1

    @property
    def total(self) -> int:
        """How many cells differ."""
        return self.counts.total()

    @property
    def is_truncated(self) -> bool:
        """Whether more cells differ than are named."""
        return self.total > self.max_cells


def pick_sample(audiences: Sequence[str], size: int, *, seed: str) -> tuple[str, ...]:
    """Return some of the audiences, at random, in their order; the same ones for the same seed.

    Only the names decide, not their order, and not the version of Python: a retry must request the same.

    :param size: how many; all, if there are fewer.
    :raises InvalidExportError: the size is not a number of 1 or more.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        msg = f"Invalid sample {size!r}: expected a number of audiences of 1 or more, or None for all."
        raise InvalidExportError(msg)

    def rank(audience: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{audience}".encode()).digest()

    picked = set(sorted(audiences, key=rank)[:size])
    return tuple(audience for audience in audiences if audience in picked)
