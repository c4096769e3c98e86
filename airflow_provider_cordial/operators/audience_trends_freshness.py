"""AudienceTrendsFreshnessOperator: check that a table has the newest day of each audience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.sdk import BaseOperator

from airflow_provider_cordial.exceptions import InvalidParameterError, StaleTableError

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_cordial.trends import Columns

OnStale = Literal["fail", "warn"]

#: Stale audiences that a message names.
_NAMED = 10


class AudienceTrendsFreshnessOperator(BaseOperator):
    """Check that the newest day of each audience in a table is as new as it should be.

    The expected day is one that is over in the account's time zone: with a ``lag`` of 1, yesterday. What counts is the
    day of the newest number, not when it was loaded: days that were filled late do not make a table fresh, and holes
    before its newest day do not make it stale. A row without a number does not count.

    The table is only read, and no request is sent to Cordial. A retry checks again.

    :param audiences: names of audiences; or the first day that each was tracked, by name, as dates or ISO 8601 texts:
        an audience that was not tracked on the expected day yet is not stale (templated).
    :param conn_id: an Airflow connection to the warehouse (templated).
    :param table: as for ``AudienceTrendsToSqlOperator`` (templated).
    :param columns: as for the load: other names, and the scope whose rows count (its texts are templated).
    :param staging: as for ``AudienceTrendsToSqlOperator`` (templated).
    :param staging_conn_id: an Airflow connection to the ``staging`` (templated).
    :param cordial_conn_id: the Airflow connection to Cordial, for the account's time zone (templated).
    :param lag: how many days after a day its number is expected: 1 is the day after it.
    :param look_back: how many days to read, up to the expected one, and the days after it.
    :param on_stale: ``fail`` or ``warn``.
    :returns: the ``expected`` day, the ``newest`` day of each audience, which is None if the days that were read have
        no number, and the ``stale`` audiences.
    :raises StaleTableError: with ``fail``, an audience is stale.
    :raises InvalidParameterError: a parameter is invalid.
    :raises TableError: the table cannot be read.
    """

    template_fields: Sequence[str] = (
        "audiences",
        "conn_id",
        "table",
        "staging",
        "staging_conn_id",
        "cordial_conn_id",
    )
    ui_color = "#e6dcf0"

    def __init__(
        self,
        *,
        audiences: Sequence[str] | Mapping[str, date | str] | XComArg,
        conn_id: str,
        table: str = "audience_trends",
        columns: Columns | None = None,
        staging: str | None = None,
        staging_conn_id: str | None = None,
        cordial_conn_id: str = "cordial_default",
        lag: int = 1,
        look_back: int = 31,
        on_stale: OnStale = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audiences = audiences
        self.conn_id = conn_id
        self.table = table
        self.columns = columns
        self.staging = staging
        self.staging_conn_id = staging_conn_id
        self.cordial_conn_id = cordial_conn_id
        self.lag = lag
        self.look_back = look_back
        self.on_stale = on_stale

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the newest days of the table, and compare them with the expected one."""
        # Imported here to keep DAG parsing fast.
        from airflow_provider_cordial.exports.timeframe import Timeframe
        from airflow_provider_cordial.hooks.cordial import CordialHook
        from airflow_provider_cordial.trends import Columns
        from airflow_provider_cordial.trends.coverage import expected_days, parse_tracked, read_coverage
        from airflow_provider_cordial.trends.tables import Staging

        if self.on_stale not in get_args(OnStale):
            msg = f"Invalid on_stale {self.on_stale!r}: expected 'fail' or 'warn'."
            raise InvalidParameterError(msg)
        audiences = parse_tracked(self.audiences)
        if self.look_back < 1:
            msg = f"Invalid look_back {self.look_back!r}: expected a number of days of 1 or more."
            raise InvalidParameterError(msg)
        timezone = CordialHook(self.cordial_conn_id).connection.timezone
        days = expected_days(self.look_back, None, timezone=timezone, lag=self.lag)
        # A later day may have arrived sooner than the lag.
        over = expected_days(1, None, timezone=timezone).end
        coverage = read_coverage(
            self.conn_id,
            self.table,
            audiences,
            Timeframe(days.start, over),
            columns=(self.columns or Columns()).rendered(lambda text: str(self.render_template(text, context))),
            staging=Staging(location=self.staging, conn_id=self.staging_conn_id),
        )
        stale = coverage.stale(days.end)
        self._report(stale, len(audiences), days.end)
        newest = {audience: day and day.isoformat() for audience, day in coverage.newest().items()}
        return {"expected": days.end.isoformat(), "newest": newest, "stale": sorted(stale)}

    def _report(self, stale: Mapping[str, date | None], audiences: int, expected: date) -> None:
        """Log the result, or fail."""
        if not stale:
            self.log.info("Table %s is fresh: all %d audiences have %s or a later day", self.table, audiences, expected)
            return
        oldest_first = sorted(stale.items(), key=lambda item: (item[1] or date.min, item[0]))
        named = [f"{name!r} {day or f'none in {self.look_back} days'}" for name, day in oldest_first[:_NAMED]]
        more = f", and {len(stale) - _NAMED} more" if len(stale) > _NAMED else ""
        msg = (
            f"{len(stale)} of {audiences} audiences are stale in table {self.table!r}: no number since {expected}. "
            f"Newest days: {', '.join(named)}{more}. Load that day, or set lag to the days that it takes to arrive."
        )
        if self.on_stale == "fail":
            raise StaleTableError(msg, table=self.table)
        self.log.warning(msg)
