"""Plan: which exports fill the holes of a table. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.timeframe import ONE_DAY, Timeframe

if TYPE_CHECKING:
    from airflow_provider_cordial.trends.coverage import Coverage

#: Audiences and days of an export, unless its author knows better: Cordial documents no limit.
MAX_DAYS = 31
MAX_AUDIENCES = 100


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """The audiences and days of one export."""

    audiences: tuple[str, ...]
    timeframe: Timeframe

    @property
    def cells(self) -> int:
        """How many numbers it asks for."""
        return len(self.audiences) * len(self.timeframe)

    def to_json(self) -> dict[str, Any]:
        """Return the parameters ``audiences`` and ``timeframe`` of an export, for a mapped task."""
        return {"audiences": [*self.audiences], "timeframe": self.timeframe.to_json()}


def find_holes(coverage: Coverage, *, look_back: int = 0, ask_blanks_again: int = 0) -> dict[str, set[date]]:
    """Return the days to ask for, of each audience that needs some.

    :param look_back: how many of the last days to ask for again although they are loaded: late corrections.
    :param ask_blanks_again: how many of the last days to ask for again where they are blank: late snapshots.
    :raises InvalidExportError: a number is negative.
    """
    for name, number in (("look_back", look_back), ("ask_blanks_again", ask_blanks_again)):
        if number < 0:
            msg = f"Invalid {name} {number!r}: expected a number of days, 0 for none."
            raise InvalidExportError(msg)
    last = coverage.timeframe.end
    holes = {audience: set(days) for audience, days in coverage.missing().items()}
    for audience, days in coverage.blanks().items():
        holes.setdefault(audience, set()).update(day for day in days if (last - day).days < ask_blanks_again)
    if look_back:
        for audience in coverage.expected:
            again = (day for day in coverage.days_of(audience) if (last - day).days < look_back)
            holes.setdefault(audience, set()).update(again)
    return {audience: days for audience, days in holes.items() if days}


def describe_days(days: Collection[date]) -> str:
    """Return the ranges of some days as text, the newest first: ``2026-11-10 to 2026-11-12, 2026-11-08``."""
    return ", ".join(str(gap) for gap in reversed([*_gaps(days)]))


def plan_exports(
    holes: Mapping[str, Collection[date]], *, max_days: int = MAX_DAYS, max_audiences: int = MAX_AUDIENCES
) -> list[PlannedExport]:
    """Return exports that ask for each hole once, and for nothing else; the newest days first.

    Audiences that lack the same days without a gap share an export, so the usual shapes need as few as possible: one
    day of all audiences, a gap of some days, or a new audience with its whole past.

    :param holes: the days that each audience lacks.
    :param max_days: of an export.
    :param max_audiences: of an export.
    :raises InvalidExportError: a limit is below 1.
    """
    for name, limit in (("max_days", max_days), ("max_audiences", max_audiences)):
        if limit < 1:
            msg = f"Invalid {name} {limit!r}: expected 1 or more."
            raise InvalidExportError(msg)
    audiences: dict[Timeframe, list[str]] = {}
    for audience, days in holes.items():
        for gap in _gaps(days):
            for part in _parts(gap, max_days):
                audiences.setdefault(part, []).append(audience)
    newest_first = sorted(audiences, key=lambda part: (part.end, part.start), reverse=True)
    return [
        PlannedExport(tuple(names[start : start + max_audiences]), part)
        for part in newest_first
        for names in [audiences[part]]
        for start in range(0, len(names), max_audiences)
    ]


def _gaps(days: Collection[date]) -> Iterator[Timeframe]:
    """Yield the ranges without a gap, in order."""
    for _, run in groupby(enumerate(sorted(set(days))), lambda item: item[1].toordinal() - item[0]):
        some = [day for _, day in run]
        yield Timeframe(some[0], some[-1])


def _parts(gap: Timeframe, max_days: int) -> Iterator[Timeframe]:
    """Yield parts of at most so many days, whole ones at the end: the newest days come in the fewest exports."""
    end = gap.end
    while end >= gap.start:
        start = max(gap.start, end - (max_days - 1) * ONE_DAY)
        yield Timeframe(start, end)
        end = start - ONE_DAY
