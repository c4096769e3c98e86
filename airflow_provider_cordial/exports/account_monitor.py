"""AccountMonitorExport: the log of the account, as Cordial's Account Monitor shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_cordial.exports.members import member, one_of, parse_text
from airflow_provider_cordial.exports.records import PeriodExport


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountMonitorExport(PeriodExport):
    """The log entries of a period, as JSON.

    :param selected_category: of the entries, ``Exports`` or ``API`` for instance.
    :param selected_level: ``Debug``, ``Info``, ``Warning``, or ``Error``.

    Source: Cordial, "Export Account Monitor error logs API".
    """

    kind = "accountmonitorexport"
    error_hint = "Check the timeframe, the category, the level, and the destination."

    # Source: the article knows JSON only; the Swagger document requires the member without declaring it.
    export_type: str = field(default="json", metadata=member("exportType", one_of("json")))
    selected_category: str | None = field(default=None, metadata=member("selected_category", parse_text))
    selected_level: str | None = field(
        default=None, metadata=member("selected_level", one_of("Debug", "Info", "Warning", "Error"))
    )
