"""What is exported, as values, and how an export is submitted exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import Export, SubmittedExport
from airflow_provider_cordial.exports.timeframe import Timeframe

if TYPE_CHECKING:
    from airflow_provider_cordial.exports.account_monitor import AccountMonitorExport
    from airflow_provider_cordial.exports.contact_activity import ContactActivityExport
    from airflow_provider_cordial.exports.contacts import ContactsExport
    from airflow_provider_cordial.exports.message_analytics import MessageAnalyticsExport

__all__ = [
    "AccountMonitorExport",
    "AudienceTrendsExport",
    "ContactActivityExport",
    "ContactsExport",
    "Export",
    "MessageAnalyticsExport",
    "SubmittedExport",
    "Timeframe",
]

_MODULES = {
    "AccountMonitorExport": "account_monitor",
    "ContactActivityExport": "contact_activity",
    "ContactsExport": "contacts",
    "MessageAnalyticsExport": "message_analytics",
}


def __getattr__(name: str) -> Any:
    # On demand: a DAG file is parsed without the kinds that it does not use.
    from airflow_provider_cordial._compat import lazy_import

    return lazy_import(__name__, name, _MODULES)
