"""AudienceTrendsExportOperator: export the sizes of audiences by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport, validate_audiences
from airflow_provider_cordial.exports.timeframe import Timeframe, resolve_timeframe
from airflow_provider_cordial.operators.export import CordialExportOperator

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_cordial.destinations import Destination
    from airflow_provider_cordial.hooks.cordial import CordialHook


OnRefusedAudience = Literal["fail", "skip"]


class AudienceTrendsExportOperator(CordialExportOperator):
    """Submit an Audience Trends export exactly once, and return the job id.

    Retries, clears, waiting, and asset events: see ``CordialExportOperator``, whose parameters apply as well. Asset
    events also carry the ``audiences``, and the ``refused_audiences`` if Cordial refused some.

    :param audiences: names of saved audiences, each with Audience Trend analytics enabled (templated).
    :param selected_timeframe_start: the first day: date, datetime, or ISO 8601 text (templated).
    :param selected_timeframe_end: the last day, included (templated).
    :param timeframe: both days as one value, the output of ``Timeframe.to_json``, for mapped tasks (templated). Without
        any of the three, the run decides (see ``exports.timeframe.resolve_timeframe``).
    :param days: how many days to export where the run has no data interval.
    :param on_refused_audience: ``fail`` if Cordial refuses an audience, because it was renamed or its analytics are
        disabled; or ``skip`` to export the others. The log, the XCom, and the asset events name the refused audiences,
        and a load does not report them as missing. If Cordial refuses all audiences, the task fails. Below Airflow 3.3
        the refused audiences of a job that a retry has found by its name are unknown, so the load reports them.

    Source: Cordial, "Audience Trends export API".
    """

    template_fields: Sequence[str] = (
        *CordialExportOperator.template_fields,
        "audiences",
        "selected_timeframe_start",
        "selected_timeframe_end",
        "timeframe",
    )

    def __init__(
        self,
        *,
        audiences: Sequence[str] | XComArg,
        selected_timeframe_start: date | datetime | str | None = None,
        selected_timeframe_end: date | datetime | str | None = None,
        timeframe: Timeframe | Mapping[str, str] | str | XComArg | None = None,
        days: int = 1,
        on_refused_audience: OnRefusedAudience = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audiences = audiences
        self.selected_timeframe_start = selected_timeframe_start
        self.selected_timeframe_end = selected_timeframe_end
        self.timeframe = timeframe
        self.days = days
        self.on_refused_audience = on_refused_audience

    @property
    def skips_refused(self) -> bool:
        return self.on_refused_audience == "skip"

    def choose_audiences(self, context: Context, audiences: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG002
        """Return the audiences to export, the same ones on each retry; a subclass may leave some out."""
        return audiences

    def build_export(
        self, context: Context, hook: CordialHook, *, name: str, destination: Destination
    ) -> AudienceTrendsExport:
        """Return the audiences and days to export, both checked."""
        if self.on_refused_audience not in get_args(OnRefusedAudience):
            msg = f"Invalid on_refused_audience {self.on_refused_audience!r}: expected 'fail' or 'skip'."
            raise InvalidParameterError(msg)
        audiences = self.choose_audiences(context, validate_audiences(self.audiences))
        timeframe = resolve_timeframe(
            context,
            timeframe=self.timeframe,
            start=self.selected_timeframe_start,
            end=self.selected_timeframe_end,
            days=self.days,
            timezone=hook.connection.timezone,
        )
        self.log.info("Exporting %d audiences, %s", len(audiences), timeframe)
        return AudienceTrendsExport(
            name=name,
            audiences=audiences,
            timeframe=timeframe,
            destination=destination,
            timezone=hook.connection.timezone.key,
        )
