"""CordialMessageAnalyticsExportOperator: export the numbers of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.exports.message_analytics import MessageAnalyticsExport
from airflow_provider_cordial.operators.records import PeriodExportOperator

if TYPE_CHECKING:
    from airflow.sdk import XComArg


class CordialMessageAnalyticsExportOperator(PeriodExportOperator):
    """Submit an export of message analytics exactly once, and return the job id.

    Retries, clears, waiting, and asset events: see ``CordialExportOperator``. More parameters: see
    ``PeriodExportOperator``.

    :param type: of messages: ``all``, ``batch``, ``automation``, ``orchestration``, or the deprecated ``both``
        (templated).
    :param selected_channel: the key of a channel (templated).
    :param selected_message_name: the name of a message (templated).
    :param selected_message_tags: tags of messages (templated).
    :param selected_message_tags_operator: ``any`` or ``all`` of the tags (templated).
    :param selected_orchestration_name: the name of an orchestration (templated).
    :param selected_orchestration_id: the id of an orchestration (templated).
    :param selected_audience_names: names of saved audiences (templated).
    :param selected_audience_ids: ids of saved audiences (templated).
    :param view_mode: ``by_message``, ``by_message_type``, or ``as_total`` (templated).
    :param rollup_automations: one row for each automation.
    :param include_totals_row: add a row of totals.
    :param column_headers: the columns, in their order: mappings with ``name`` and optionally ``label`` (templated).
    :param show_header: begin a CSV file with a header; Cordial's default is False.

    Source: Cordial, "Message analytics export API".
    """

    export_class = MessageAnalyticsExport

    template_fields: Sequence[str] = (
        *PeriodExportOperator.template_fields,
        "type",
        "selected_channel",
        "selected_message_name",
        "selected_message_tags",
        "selected_message_tags_operator",
        "selected_orchestration_name",
        "selected_orchestration_id",
        "selected_audience_names",
        "selected_audience_ids",
        "view_mode",
        "column_headers",
    )

    def __init__(
        self,
        *,
        type: str | None = None,  # noqa: A002 - as Cordial names it
        selected_channel: str | None = None,
        selected_message_name: str | None = None,
        selected_message_tags: Sequence[str] | XComArg | None = None,
        selected_message_tags_operator: str | None = None,
        selected_orchestration_name: str | None = None,
        selected_orchestration_id: str | None = None,
        selected_audience_names: Sequence[str] | XComArg | None = None,
        selected_audience_ids: Sequence[str] | XComArg | None = None,
        view_mode: str | None = None,
        rollup_automations: bool | None = None,
        include_totals_row: bool | None = None,
        column_headers: Sequence[Mapping[str, Any]] | XComArg | None = None,
        show_header: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.type = type
        self.selected_channel = selected_channel
        self.selected_message_name = selected_message_name
        self.selected_message_tags = selected_message_tags
        self.selected_message_tags_operator = selected_message_tags_operator
        self.selected_orchestration_name = selected_orchestration_name
        self.selected_orchestration_id = selected_orchestration_id
        self.selected_audience_names = selected_audience_names
        self.selected_audience_ids = selected_audience_ids
        self.view_mode = view_mode
        self.rollup_automations = rollup_automations
        self.include_totals_row = include_totals_row
        self.column_headers = column_headers
        self.show_header = show_header
