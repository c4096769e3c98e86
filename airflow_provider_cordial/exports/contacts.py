"""ContactsExport: contacts, with the attributes that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from airflow_provider_cordial.exports.members import (
    member,
    parse_delimiter,
    parse_switch,
    parse_text,
    parse_texts,
    parse_texts_or_numbers,
)
from airflow_provider_cordial.exports.records import RecordsExport


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactsExport(RecordsExport):
    """The contacts of the account, of an audience, or of lists.

    :param fields: the attributes to export, in their order.
    :param audience_key: the name of a saved audience.
    :param lists: names or ids of lists.
    :param show_header: begin a CSV file with a header; False by default at Cordial.
    :param delimiter: of ``txt`` only.

    Source: Cordial, "Contact exports API".
    """

    kind = "contactexports"
    error_hint = "Check that the audience and the destination's saved key exist in Cordial."

    fields: Sequence[str] = field(metadata=member("fields", parse_texts))
    audience_key: str | None = field(default=None, metadata=member("audience-key", parse_text))
    lists: Sequence[str | int] | None = field(
        default=None, metadata=member("lists", parse_texts_or_numbers, is_unordered=True)
    )
    show_header: bool | None = field(default=None, metadata=member("showHeader", parse_switch))
    delimiter: str | None = field(default=None, metadata=member("delimiter", parse_delimiter))

    def reads(self) -> Iterable[str]:
        return (self.audience_key,) if self.audience_key else ()
