"""AudienceTrendsFreshnessOperator: check that the newest day of each audience in a table is as new as it should be."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_cordial.exceptions import InvalidParameterError, StaleTableError
from airflow_provider_cordial.operators.audience_trends_coverage import MAX_NAMED, AudienceTrendsCoverageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cordial.exports.timeframe import Timeframe
    from airflow_provider_cordial.trends import Coverage

OnStale = Literal["fail", "warn"]


class AudienceTrendsFreshnessOperator(AudienceTrendsCoverageOperator):
    """Check that the newest day of each audience in a table is as new as it should be.

    The expected day is the last one that the table should have: with a ``lag`` of 1, the account's yesterday. What
    counts is the day of the newest number, not when it was loaded: days that were filled late do not make a table
    fresh, and holes before its newest day do not make it stale. A blank does not count. An audience whose first tracked
    day is later than the expected day is not stale.

    More parameters and errors: see ``AudienceTrendsCoverageOperator``.

    :param first_day: the first day to search for the newest one, or how many days back from the expected one
        (templated).
    :param on_stale: ``fail``, or ``warn`` to log the stale audiences and succeed.
    :returns: the ``expected`` day, the ``newest`` day of each audience, which is None if the days that were searched
        have no number, and the ``stale`` audiences.
    :raises StaleTableError: with ``fail``, an audience is stale; a retry checks again.
    """

    def __init__(self, *, first_day: date | int | str = 31, on_stale: OnStale = "fail", **kwargs: Any) -> None:
        super().__init__(first_day=first_day, **kwargs)
        self.on_stale = on_stale

    def execute(self, context: Context) -> Any:
        """Ask the table, and compare its newest days with the expected one."""
        if self.on_stale not in get_args(OnStale):
            msg = f"Invalid on_stale {self.on_stale!r}: expected 'fail' or 'warn'."
            raise InvalidParameterError(msg)
        return super().execute(context)

    def conclude(self, coverage: Coverage) -> dict[str, Any]:
        """Return the newest days.

        :raises StaleTableError: with ``fail``, an audience is stale.
        """
        expected = coverage.timeframe.end - self._later
        stale = coverage.stale(expected)
        if stale and self.on_stale == "fail":
            raise StaleTableError(self._describe(stale, coverage, expected))
        if stale:
            self.log.warning(self._describe(stale, coverage, expected))
        newest = {audience: day and day.isoformat() for audience, day in coverage.newest().items()}
        return {"expected": expected.isoformat(), "newest": newest, "stale": sorted(stale)}

    @property
    def _later(self) -> timedelta:
        """How much later than the expected day the newest one can be, if it has arrived sooner than the lag."""
        return timedelta(days=self.lag - 1)

    def _expected(self) -> Timeframe:
        from airflow_provider_cordial.exports.timeframe import Timeframe

        days = super()._expected()
        return Timeframe(days.start, days.end + self._later)

    def _describe(self, stale: dict[str, date | None], coverage: Coverage, expected: date) -> str:
        nothing = f"none in {(expected - coverage.timeframe.start).days + 1} days"
        oldest_first = sorted(stale.items(), key=lambda item: (item[1] or date.min, item[0]))
        named = ", ".join(f"{audience!r} {day or nothing}" for audience, day in oldest_first[:MAX_NAMED])
        more = f", and {len(stale) - MAX_NAMED} more" if len(stale) > MAX_NAMED else ""
        return (
            f"{len(stale)} of {len(coverage.expected)} audiences are stale in table {self.table!r}: no number since "
            f"{expected}. Newest days: {named}{more}. Load that day, or raise lag if Cordial's file arrives later."
        )
