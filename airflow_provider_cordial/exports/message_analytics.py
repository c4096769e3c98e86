"""MessageAnalyticsExport: the numbers of messages: sends, opens, clicks, and revenue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.members import (
    member,
    one_of,
    parse_columns,
    parse_switch,
    parse_text,
    parse_texts,
)
from airflow_provider_cordial.exports.records import PeriodExport


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageAnalyticsExport(PeriodExport):
    """The numbers of the messages of a period.

    :param type: of messages: ``all``, ``batch``, ``automation``, ``orchestration``, or the deprecated ``both``.
    :param selected_channel: the key of a channel.
    :param selected_message_name: the name of a message.
    :param selected_message_tags: tags of messages.
    :param selected_message_tags_operator: ``any`` or ``all`` of the tags.
    :param selected_orchestration_name: the name of an orchestration.
    :param selected_orchestration_id: the id of an orchestration.
    :param selected_audience_names: names of saved audiences.
    :param selected_audience_ids: ids of saved audiences.
    :param view_mode: ``by_message``, ``by_message_type``, or ``as_total``.
    :param rollup_automations: one row for each automation.
    :param include_totals_row: add a row of totals.
    :param column_headers: the columns, in their order: mappings with ``name`` and optionally ``label``.
    :param show_header: begin a CSV file with a header; False by default at Cordial.

    Source: Cordial, "Message analytics export API".
    """

    kind = "messageanalyticsexport"
    error_hint = "Check the timeframe, the filters, and the destination."

    export_type: str = field(default="csv", metadata=member("exportType", one_of("csv", "json")))
    type: str | None = field(
        default=None, metadata=member("type", one_of("all", "batch", "automation", "orchestration", "both"))
    )
    selected_channel: str | None = field(default=None, metadata=member("selected_channel", parse_text))
    selected_message_name: str | None = field(default=None, metadata=member("selected_message_name", parse_text))
    selected_message_tags: Sequence[str] | None = field(
        default=None, metadata=member("selected_message_tags", parse_texts, is_unordered=True)
    )
    selected_message_tags_operator: str | None = field(
        default=None, metadata=member("selected_message_tags_operator", one_of("any", "all"))
    )
    selected_orchestration_name: str | None = field(
        default=None, metadata=member("selected_orchestration_name", parse_text)
    )
    selected_orchestration_id: str | None = field(
        default=None, metadata=member("selected_orchestration_id", parse_text)
    )
    selected_audience_names: Sequence[str] | None = field(
        default=None, metadata=member("selected_audience_names", parse_texts, is_unordered=True)
    )
    selected_audience_ids: Sequence[str] | None = field(
        default=None, metadata=member("selected_audience_ids", parse_texts, is_unordered=True)
    )
    view_mode: str | None = field(
        default=None, metadata=member("viewMode", one_of("by_message", "by_message_type", "as_total"))
    )
    rollup_automations: bool | None = field(default=None, metadata=member("rollupAutomations", parse_switch))
    include_totals_row: bool | None = field(default=None, metadata=member("includeTotalsRow", parse_switch))
    column_headers: Sequence[Mapping[str, Any]] | None = field(
        default=None, hash=False, metadata=member("columnHeaders", parse_columns)
    )
    show_header: bool | None = field(default=None, metadata=member("showHeader", parse_switch))

    def __post_init__(self) -> None:
        PeriodExport.__post_init__(self)
        if "fileName" in self.options:
            msg = "Invalid options: 'fileName' is the export's name, by which its file is found. Set name."
            raise InvalidExportError(msg)

    def body(self) -> dict[str, Any]:
        # Source: the v1 Swagger document: the name is also the file's name, but only if fileName is empty.
        return {**PeriodExport.body(self), "fileName": self.name}

    def reads(self) -> Iterable[str]:
        return self.selected_audience_names or ()
