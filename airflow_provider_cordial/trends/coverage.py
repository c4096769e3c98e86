"""Coverage: which days of which audiences a table has, asked from the table itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.audience_trends import validate_audiences
from airflow_provider_cordial.exports.timeframe import ONE_DAY, Timeframe, parse_day
from airflow_provider_cordial.trends.columns import Columns
from airflow_provider_cordial.trends.tables import Staging, build_table


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a table has of audiences on days: a number, a blank, or nothing.

    The days of an audience are the bits of an integer, the first day the lowest: years of thousands of audiences are
    some megabytes.

    :param timeframe: the days that were asked for.
    :param expected: the days that each audience should have, as bits.
    :param loaded: the days with a number.
    :param blank: the days that were exported and have no snapshot.
    """

    timeframe: Timeframe
    expected: Mapping[str, int]
    loaded: Mapping[str, int] = field(default_factory=dict)
    blank: Mapping[str, int] = field(default_factory=dict)

    def missing(self) -> dict[str, list[date]]:
        """Return the days that were never loaded, of the audiences that lack some."""
        holes = {
            audience: days & ~self.loaded.get(audience, 0) & ~self.blank.get(audience, 0)
            for audience, days in self.expected.items()
        }
        return {audience: list(self._days(bits)) for audience, bits in holes.items() if bits}

    def blanks(self) -> dict[str, list[date]]:
        """Return the days without a snapshot, of the audiences that have some."""
        found = {audience: self.blank.get(audience, 0) & days for audience, days in self.expected.items()}
        return {audience: list(self._days(bits)) for audience, bits in found.items() if bits}

    def newest(self) -> dict[str, date | None]:
        """Return the last day with a number of each audience; None if it has none."""
        last = {audience: self.loaded.get(audience, 0).bit_length() for audience in self.expected}
        start = self.timeframe.start
        return {audience: start + timedelta(days=bits - 1) if bits else None for audience, bits in last.items()}

    def stale(self, expected: date) -> dict[str, date | None]:
        """Return the last day with a number of the audiences whose last one is older than it should be.

        :param expected: the day that they should have, or a later one, if they were tracked on it.
        """
        tracked = 1 << (expected - self.timeframe.start).days
        return {
            audience: day
            for audience, day in self.newest().items()
            if self.expected[audience] & tracked and (day is None or day < expected)
        }

    def days_of(self, audience: str) -> list[date]:
        """Return the days that an audience should have."""
        return list(self._days(self.expected.get(audience, 0)))

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing; a blank is not."""
        return not self.missing()

    def counts(self) -> dict[str, int]:
        """Return how many cells are ``loaded``, ``blank``, and ``missing``."""
        loaded, blank = (
            sum((bits.get(audience, 0) & days).bit_count() for audience, days in self.expected.items())
            for bits in (self.loaded, self.blank)
        )
        whole = sum(days.bit_count() for days in self.expected.values())
        return {"loaded": loaded, "blank": blank, "missing": whole - loaded - blank}

    def _days(self, bits: int) -> Iterator[date]:
        while bits:
            lowest = bits & -bits
            yield self.timeframe.start + timedelta(days=lowest.bit_length() - 1)
            bits ^= lowest


def read_coverage(
    conn_id: str,
    table: str,
    audiences: Sequence[str] | Mapping[str, date],
    timeframe: Timeframe,
    *,
    columns: Columns | None = None,
    create_table: bool = False,
    staging: Staging | None = None,
) -> Coverage:
    """Ask a table which days of which audiences it has.

    The warehouse is the source, not the history of runs, which knows nothing of a restored table, a manual delete, or a
    lost event. A query per batch of audiences is sent.

    :param audiences: their names; or the first day that each was tracked, by name: earlier days are not expected.
    :param timeframe: the days that are expected.
    :param columns: as for the load: names, and the scope whose rows count.
    :param create_table: a missing table is created, and has nothing.
    :param staging: as for the load, for a warehouse that needs one.
    :raises TableError: the table cannot be read.
    """
    first_days = dict(audiences) if isinstance(audiences, Mapping) else {}
    expected = {name: _bits(timeframe, first_days.get(name, timeframe.start)) for name in audiences}
    loaded: dict[str, int] = {}
    blank: dict[str, int] = {}
    found = build_table(conn_id, table, columns or Columns(), create=create_table, staging=staging)
    for audience, day, contacts in found.cells([*expected], timeframe):
        bits = blank if contacts is None else loaded
        bits[audience] = bits.get(audience, 0) | 1 << (day - timeframe.start).days
    # A cell that is there twice, once with a number, has one.
    blank = {audience: bits & ~loaded.get(audience, 0) for audience, bits in blank.items()}
    return Coverage(timeframe, expected, loaded, blank)


def parse_audiences(value: Any) -> tuple[str, ...] | dict[str, date]:
    """Return the audiences to ask for: their names, or the first day that each was tracked.

    :raises InvalidExportError: a name or a day is invalid, or a name is listed twice.
    """
    names = validate_audiences([*value] if isinstance(value, Mapping) else value)
    if not isinstance(value, Mapping):
        return names
    return {name: parse_day(f"first day of audience {name!r}", value[name], UTC) for name in names}


def expected_days(first_day: date | int, last_day: date | None, *, timezone: tzinfo, lag: int = 1) -> Timeframe:
    """Return the days that a table should have.

    :param first_day: a date, or how many days back from the last one.
    :param last_day: by default the last day that is over in the account's time zone, less the lag.
    :param lag: how many days after a day its snapshot is expected: 1 is the day after it.
    :raises InvalidExportError: the first day is after the last one, or a number is below 1.
    """
    if lag < 1:
        msg = f"Invalid lag {lag!r}: expected a number of days of 1 or more, because a day has to be over."
        raise InvalidExportError(msg)
    last = last_day or datetime.now(UTC).astimezone(timezone).date() - lag * ONE_DAY
    first = last - (first_day - 1) * ONE_DAY if isinstance(first_day, int) else first_day
    if isinstance(first_day, int) and first_day < 1:
        msg = f"Invalid first_day {first_day!r}: expected a date, or a number of days of 1 or more."
        raise InvalidExportError(msg)
    return Timeframe(first, last)


def _bits(timeframe: Timeframe, first: date) -> int:
    """Return the days from the first one on."""
    skipped = min(max((first - timeframe.start).days, 0), len(timeframe))
    return (1 << len(timeframe)) - (1 << skipped)
