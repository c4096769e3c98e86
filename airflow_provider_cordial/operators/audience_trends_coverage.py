"""Operators that ask a table which days it has: what to export, and whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_cordial.client.wording import count_of
from airflow_provider_cordial.exceptions import DaysMissingError, InvalidExportError

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_cordial.exports.timeframe import Timeframe
    from airflow_provider_cordial.trends import Columns, Coverage

#: The key of the XCom with the days that a plan was made for.
TIMEFRAME_KEY = "timeframe"

#: Airflow maps a task over 1,024 values by default.
MAX_EXPORTS = 1000

#: Audiences that a message names.
MAX_NAMED = 10


class AudienceTrendsCoverageOperator(BaseOperator):
    """Ask a table which days of which audiences it has; a subclass uses the answer in ``conclude``.

    The table itself is asked, not the history of runs. Nothing is sent to Cordial. A retry asks again.

    :param audiences: their names; or the first day that each was tracked, by name: earlier days are not expected
        (templated).
    :param conn_id: the Airflow connection of the database (templated).
    :param table: as for the load (templated).
    :param first_day: the first day that the table should have, or how many days back from the last one (templated).
    :param last_day: the last day; by default the last one that is over in the account's time zone, less the lag
        (templated).
    :param lag: how many days after a day its snapshot is expected; 1 is the next day.
    :param timeframe: both days as one value, ``plan.output["timeframe"]`` for instance, in place of the three
        (templated).
    :param cordial_conn_id: the Airflow connection to Cordial, for the account's time zone (templated).
    :param columns: as for the load: only the rows of its scope count.
    :param create_table: create a missing table; it has no days then.
    :param staging: as for the load (templated).
    :param staging_conn_id: as for the load (templated).
    :raises InvalidExportError: the audiences or the days are invalid.
    :raises TableError: the table cannot be read.
    """

    template_fields: Sequence[str] = (
        "audiences",
        "conn_id",
        "table",
        "first_day",
        "last_day",
        "timeframe",
        "cordial_conn_id",
        "staging",
        "staging_conn_id",
    )
    ui_color = "#e8e4f0"

    def __init__(
        self,
        *,
        audiences: Sequence[str] | Mapping[str, date | str] | XComArg | str,
        conn_id: str,
        table: str = "audience_trends",
        first_day: date | int | str | None = None,
        last_day: date | str | None = None,
        lag: int = 1,
        timeframe: Timeframe | Mapping[str, str] | XComArg | str | None = None,
        cordial_conn_id: str = "cordial_default",
        columns: Columns | None = None,
        create_table: bool = False,
        staging: str | None = None,
        staging_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audiences = audiences
        self.conn_id = conn_id
        self.table = table
        self.first_day = first_day
        self.last_day = last_day
        self.lag = lag
        self.timeframe = timeframe
        self.cordial_conn_id = cordial_conn_id
        self.columns = columns
        self.create_table = create_table
        self.staging = staging
        self.staging_conn_id = staging_conn_id

    def execute(self, context: Context) -> Any:
        """Ask the table, and use the answer."""
        # Imported here to keep DAG parsing fast.
        from airflow_provider_cordial.trends import Columns, read_coverage
        from airflow_provider_cordial.trends.coverage import parse_audiences
        from airflow_provider_cordial.trends.tables import Staging

        audiences = parse_audiences(self.audiences)
        timeframe = self._expected()
        coverage = read_coverage(
            self.conn_id,
            self.table,
            audiences,
            timeframe,
            columns=(self.columns or Columns()).rendered(lambda text: str(self.render_template(text, context))),
            create_table=self.create_table,
            staging=Staging(location=self.staging, conn_id=self.staging_conn_id),
        )
        shown = ", ".join(f"{number} {name}" for name, number in coverage.counts().items())
        self.log.info("Table %s, %s, %d audiences: %s", self.table, timeframe, len(audiences), shown)
        context["ti"].xcom_push(key=TIMEFRAME_KEY, value=timeframe.to_json())
        return self.conclude(coverage)

    def conclude(self, coverage: Coverage) -> Any:
        """Return the result of the task."""
        return coverage.counts()

    def _expected(self) -> Timeframe:
        from airflow_provider_cordial.exports.timeframe import parse_day, parse_timeframe
        from airflow_provider_cordial.hooks.cordial import CordialHook
        from airflow_provider_cordial.trends.coverage import expected_days

        timezone = CordialHook(self.cordial_conn_id).connection.timezone
        if self.timeframe is not None:
            return parse_timeframe(self.timeframe, timezone)
        if self.first_day is None:
            msg = "first_day is missing: set it to a day or to a number of days back, or set a timeframe."
            raise InvalidExportError(msg)
        text = str(self.first_day).strip()
        return expected_days(
            int(text) if text.lstrip("-").isdecimal() else parse_day("first_day", self.first_day, timezone),
            None if self.last_day is None else parse_day("last_day", self.last_day, timezone),
            timezone=timezone,
            lag=self.lag,
        )


class AudienceTrendsPlanOperator(AudienceTrendsCoverageOperator):
    """Ask a table what it lacks, and return the exports that fill it: the fewest, and nothing that is there.

    Map an ``AudienceTrendsSyncOperator`` over the output: ``.expand_kwargs(plan.output)``. If nothing is missing, the
    plan is empty and Airflow skips the mapped task.

    More parameters and errors: see ``AudienceTrendsCoverageOperator``.

    :param look_back: how many of the last days to export again although they are loaded, for late corrections.
    :param ask_blanks_again: how many of the last days to export again where they are blank, for late snapshots.
    :param max_days: of an export. Cordial documents no limit.
    :param max_audiences: of an export. Cordial documents no limit.
    :param max_exports: of a run. The newest days come first; the next run plans the rest.
    :returns: a list of ``audiences`` and ``timeframe``, as an export operator takes them. The XCom ``timeframe``
        contains the days that were planned for.
    """

    def __init__(
        self,
        *,
        look_back: int = 0,
        ask_blanks_again: int = 0,
        max_days: int = 31,
        max_audiences: int = 100,
        max_exports: int = MAX_EXPORTS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.look_back = look_back
        self.ask_blanks_again = ask_blanks_again
        self.max_days = max_days
        self.max_audiences = max_audiences
        self.max_exports = max_exports

    def conclude(self, coverage: Coverage) -> list[dict[str, Any]]:
        """Return the exports."""
        from airflow_provider_cordial.trends.plan import find_holes, plan_exports

        if self.max_exports < 1:
            msg = f"Invalid max_exports {self.max_exports!r}: expected 1 or more."
            raise InvalidExportError(msg)
        holes = find_holes(coverage, look_back=self.look_back, ask_blanks_again=self.ask_blanks_again)
        plan = plan_exports(holes, max_days=self.max_days, max_audiences=self.max_audiences)
        now, later = plan[: self.max_exports], plan[self.max_exports :]
        for export in now:
            self.log.info("Export %d audiences, %s", len(export.audiences), export.timeframe)
        if later:
            self.log.warning("%d more exports of older days are left to the next run", len(later))
        return [export.to_json() for export in now]


class AudienceTrendsVerifyOperator(AudienceTrendsCoverageOperator):
    """Ask a table whether it is whole, and fail with what is missing. A blank day is not missing.

    More parameters and errors: see ``AudienceTrendsCoverageOperator``.

    :returns: how many cells are ``loaded``, ``blank``, and ``missing``.
    :raises DaysMissingError: days of audiences are missing; a retry does not help.
    """

    def conclude(self, coverage: Coverage) -> dict[str, int]:
        """Return the counts.

        :raises DaysMissingError: days of audiences are missing.
        """
        from airflow_provider_cordial.trends.plan import describe_days

        missing, counts = coverage.missing(), coverage.counts()
        if not missing:
            return counts
        names = [f"Audience {audience!r}: {describe_days(days)}." for audience, days in [*missing.items()][:MAX_NAMED]]
        more = [f"And {len(missing) - MAX_NAMED} more audiences."] if len(missing) > MAX_NAMED else []
        msg = (
            f"Table {self.table!r} lacks {count_of(counts['missing'], 'day')} of {count_of(len(missing), 'audience')} "
            f"in {coverage.timeframe}. {' '.join([*names, *more])} "
            "See why their export or load failed, and run the DAG again: it exports only what is missing."
        )
        raise DaysMissingError(msg)
