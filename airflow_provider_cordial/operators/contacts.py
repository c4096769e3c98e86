"""CordialContactsExportOperator: export contacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.exports.contacts import ContactsExport
from airflow_provider_cordial.operators.records import RecordsExportOperator

if TYPE_CHECKING:
    from airflow.sdk import XComArg


class CordialContactsExportOperator(RecordsExportOperator):
    """Submit an export of contacts exactly once, and return the job id.

    Retries, clears, waiting, and asset events: see ``CordialExportOperator``. More parameters: see
    ``RecordsExportOperator``.

    :param fields: the attributes to export, in their order (templated).
    :param audience_key: the name of a saved audience; Cordial's ``audience-key`` (templated).
    :param lists: names or ids of lists (templated).
    :param show_header: begin a CSV file with a header; Cordial's default is False.
    :param delimiter: of the fields, with ``export_type="txt"`` only (templated).

    Source: Cordial, "Contact exports API".
    """

    export_class = ContactsExport

    template_fields: Sequence[str] = (
        *RecordsExportOperator.template_fields,
        "fields",
        "audience_key",
        "lists",
        "delimiter",
    )

    def __init__(
        self,
        *,
        fields: Sequence[str] | XComArg,
        audience_key: str | None = None,
        lists: Sequence[str | int] | XComArg | None = None,
        show_header: bool | None = None,
        delimiter: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fields = fields
        self.audience_key = audience_key
        self.lists = lists
        self.show_header = show_header
        self.delimiter = delimiter
