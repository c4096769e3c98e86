"""CordialContactActivityExportOperator: export what contacts did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.exports.contact_activity import ContactActivityExport
from airflow_provider_cordial.operators.records import PeriodExportOperator

if TYPE_CHECKING:
    from airflow.sdk import XComArg


class CordialContactActivityExportOperator(PeriodExportOperator):
    """Submit an export of contact activities exactly once, and return the job id.

    Retries, clears, waiting, and asset events: see ``CordialExportOperator``. More parameters: see
    ``PeriodExportOperator``.

    :param selected_action_name: the name of one action (templated).
    :param selected_action_names: the names of several actions, in place of one (templated).
    :param selected_message_type: ``batch`` or ``automation`` (templated).
    :param selected_message_id: the id of a message (templated).
    :param selected_channel: the key of a channel (templated).
    :param send_type: ``sms`` or ``mms`` (templated).
    :param selected_audience_key: the name of a saved audience (templated).
    :param selected_contact: one contact, in place of an audience (templated).
    :param show_all_properties: export all properties of the activities.
    :param contact_fields: attributes of the contact to add (templated).
    :param additional_jsonl_fields: fields to add to a JSON file (templated).
    :param column_headers: the columns, in their order: mappings with ``name`` and optionally ``label`` (templated).
    :param show_header: begin a CSV file with a header; Cordial's default is False.
    :param delimiter: of the fields, with ``export_type="txt"`` only (templated).

    Source: Cordial, "Contact activity export API".
    """

    export_class = ContactActivityExport

    template_fields: Sequence[str] = (
        *PeriodExportOperator.template_fields,
        "selected_action_name",
        "selected_action_names",
        "selected_message_type",
        "selected_message_id",
        "selected_channel",
        "send_type",
        "selected_audience_key",
        "selected_contact",
        "contact_fields",
        "additional_jsonl_fields",
        "column_headers",
        "delimiter",
    )

    def __init__(
        self,
        *,
        selected_action_name: str | None = None,
        selected_action_names: Sequence[str] | XComArg | None = None,
        selected_message_type: str | None = None,
        selected_message_id: str | None = None,
        selected_channel: str | None = None,
        send_type: str | None = None,
        selected_audience_key: str | None = None,
        selected_contact: str | None = None,
        show_all_properties: bool | None = None,
        contact_fields: Sequence[str] | XComArg | None = None,
        additional_jsonl_fields: Sequence[str] | XComArg | None = None,
        column_headers: Sequence[Mapping[str, Any]] | XComArg | None = None,
        show_header: bool | None = None,
        delimiter: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.selected_action_name = selected_action_name
        self.selected_action_names = selected_action_names
        self.selected_message_type = selected_message_type
        self.selected_message_id = selected_message_id
        self.selected_channel = selected_channel
        self.send_type = send_type
        self.selected_audience_key = selected_audience_key
        self.selected_contact = selected_contact
        self.show_all_properties = show_all_properties
        self.contact_fields = contact_fields
        self.additional_jsonl_fields = additional_jsonl_fields
        self.column_headers = column_headers
        self.show_header = show_header
        self.delimiter = delimiter
