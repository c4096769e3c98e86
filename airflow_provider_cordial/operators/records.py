"""RecordsExportOperator: what the operators for exports of records share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_cordial.exports.records import PeriodExport, RecordsExport
from airflow_provider_cordial.exports.timeframe import Timeframe, resolve_moments
from airflow_provider_cordial.operators.export import CordialExportOperator

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_cordial.destinations import Destination
    from airflow_provider_cordial.hooks.cordial import CordialHook


class RecordsExportOperator(CordialExportOperator):
    """Submit an export of records exactly once; a subclass names its kind and has a parameter for each member.

    Retries, clears, waiting, and asset events: see ``CordialExportOperator``, whose parameters apply as well. A
    parameter that is None is not sent, so Cordial's default applies.

    :param export_type: the format of the file; by default ``csv``, where Cordial offers it (templated).
    :param compress: compress the file with gzip, and add ``.gz`` to its name.
    :param confirm_email: the address that receives a mail when the job is Done (templated).
    :param options: further members of the request, as Cordial spells them, sent unchanged (templated).
    """

    #: The kind; its fields that are members of the request are the operator's parameters.
    export_class: ClassVar[type[RecordsExport]]

    template_fields: Sequence[str] = (
        *CordialExportOperator.template_fields,
        "export_type",
        "confirm_email",
        "options",
    )

    def __init__(
        self,
        *,
        export_type: str | None = None,
        compress: bool | None = None,
        confirm_email: str | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export_type = export_type
        self.compress = compress
        self.confirm_email = confirm_email
        self.options = options

    def build_export(
        self, context: Context, hook: CordialHook, *, name: str, destination: Destination
    ) -> RecordsExport:
        """Return what to export; the export checks each of its members."""
        # None leaves the default to the export, which rejects it where a value is required.
        given: dict[str, Any] = {
            item.name: value
            for item, _ in self.export_class.members()
            if (value := getattr(self, item.name)) is not None or item.default is MISSING
        }
        given |= self._moments(context, hook)
        options = {} if self.options is None else self.options
        return self.export_class(name=name, destination=destination, options=options, **given)

    def _moments(self, context: Context, hook: CordialHook) -> dict[str, Any]:
        """Return the period to export, if the kind has one."""
        del context, hook
        return {}


class PeriodExportOperator(RecordsExportOperator):
    """Submit an export of the records of a period exactly once.

    More parameters: see ``RecordsExportOperator``.

    :param selected_timeframe_start: a day, or the exact moment: date, datetime, or ISO 8601 text (templated). A day
        begins at midnight in the account's time zone, which is assumed for a moment without one.
    :param selected_timeframe_end: the last day, or the last moment, included (templated).
    :param timeframe: both days as one value, the output of ``Timeframe.to_json``, for mapped tasks (templated). Without
        any of the three, the run decides (see ``exports.timeframe.resolve_timeframe``).
    :param days: how many days to export where the run has no data interval.
    :param limit_records_per_file: 0, Cordial's default, for one file.
    """

    export_class: ClassVar[type[PeriodExport]]

    template_fields: Sequence[str] = (
        *RecordsExportOperator.template_fields,
        "selected_timeframe_start",
        "selected_timeframe_end",
        "timeframe",
    )

    def __init__(
        self,
        *,
        selected_timeframe_start: date | datetime | str | None = None,
        selected_timeframe_end: date | datetime | str | None = None,
        timeframe: Timeframe | Mapping[str, str] | str | XComArg | None = None,
        days: int = 1,
        limit_records_per_file: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.selected_timeframe_start = selected_timeframe_start
        self.selected_timeframe_end = selected_timeframe_end
        self.timeframe = timeframe
        self.days = days
        self.limit_records_per_file = limit_records_per_file

    def _moments(self, context: Context, hook: CordialHook) -> dict[str, Any]:
        timezone = hook.connection.timezone
        start, end = resolve_moments(
            context,
            timeframe=self.timeframe,
            start=self.selected_timeframe_start,
            end=self.selected_timeframe_end,
            days=self.days,
            timezone=timezone,
        )
        self.log.info("Exporting the records from %s to %s", start, end)
        return {"selected_timeframe_start": start, "selected_timeframe_end": end, "timezone": timezone.key}
