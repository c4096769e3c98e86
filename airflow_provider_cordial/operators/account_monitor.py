"""CordialAccountMonitorExportOperator: export the log of the account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_cordial.exports.account_monitor import AccountMonitorExport
from airflow_provider_cordial.operators.records import PeriodExportOperator


class CordialAccountMonitorExportOperator(PeriodExportOperator):
    """Submit an export of the Account Monitor's log exactly once, as JSON, and return the job id.

    Retries, clears, waiting, and asset events: see ``CordialExportOperator``. More parameters: see
    ``PeriodExportOperator``.

    :param selected_category: of the entries, ``Exports`` or ``API`` for instance (templated).
    :param selected_level: ``Debug``, ``Info``, ``Warning``, or ``Error`` (templated).

    Source: Cordial, "Export Account Monitor error logs API".
    """

    export_class = AccountMonitorExport

    template_fields: Sequence[str] = (
        *PeriodExportOperator.template_fields,
        "selected_category",
        "selected_level",
    )

    def __init__(
        self,
        *,
        selected_category: str | None = None,
        selected_level: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.selected_category = selected_category
        self.selected_level = selected_level
