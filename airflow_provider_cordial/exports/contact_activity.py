"""ContactActivityExport: what contacts did, as events: opens, clicks, and the actions of the account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_cordial.exports.members import (
    member,
    one_of,
    parse_columns,
    parse_delimiter,
    parse_switch,
    parse_text,
    parse_texts,
)
from airflow_provider_cordial.exports.records import PeriodExport


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactActivityExport(PeriodExport):
    """The activities of contacts in a period.

    :param selected_action_name: the name of one action.
    :param selected_action_names: the names of several actions, in place of one.
    :param selected_message_type: ``batch`` or ``automation``.
    :param selected_message_id: the id of a message.
    :param selected_channel: the key of a channel.
    :param send_type: ``sms`` or ``mms``.
    :param selected_audience_key: the name of a saved audience.
    :param selected_contact: one contact, in place of an audience.
    :param show_all_properties: export all properties of the activities.
    :param contact_fields: attributes of the contact to add.
    :param additional_jsonl_fields: fields to add to a JSON file.
    :param column_headers: the columns, in their order: mappings with ``name`` and optionally ``label``.
    :param show_header: begin a CSV file with a header; False by default at Cordial.
    :param delimiter: of ``txt`` only.

    Source: Cordial, "Contact activity export API".
    """

    kind = "contactactivityexport"
    error_hint = "Check the timeframe, the actions, and the audience or contact."
    # Source: the Swagger document, "Please use only one from existing filters".
    alternatives = (("selected_action_name", "selected_action_names"), ("selected_audience_key", "selected_contact"))

    selected_action_name: str | None = field(default=None, metadata=member("selected_action_name", parse_text))
    selected_action_names: Sequence[str] | None = field(
        default=None, metadata=member("selected_action_names", parse_texts, is_unordered=True)
    )
    selected_message_type: str | None = field(
        default=None, metadata=member("selected_message_type", one_of("batch", "automation"))
    )
    selected_message_id: str | None = field(default=None, metadata=member("selected_message_id", parse_text))
    selected_channel: str | None = field(default=None, metadata=member("selected_channel", parse_text))
    send_type: str | None = field(default=None, metadata=member("sendType", one_of("sms", "mms")))
    selected_audience_key: str | None = field(default=None, metadata=member("selected_audience_key", parse_text))
    selected_contact: str | None = field(default=None, metadata=member("selected_contact", parse_text))
    show_all_properties: bool | None = field(default=None, metadata=member("showAllProperties", parse_switch))
    contact_fields: Sequence[str] | None = field(default=None, metadata=member("contactFields", parse_texts))
    additional_jsonl_fields: Sequence[str] | None = field(
        default=None, metadata=member("additionalJsonlFields", parse_texts)
    )
    column_headers: Sequence[Mapping[str, Any]] | None = field(
        default=None, hash=False, metadata=member("columnHeaders", parse_columns)
    )
    show_header: bool | None = field(default=None, metadata=member("showHeader", parse_switch))
    delimiter: str | None = field(default=None, metadata=member("delimiter", parse_delimiter))

    def reads(self) -> Iterable[str]:
        return (self.selected_audience_key,) if self.selected_audience_key else ()
