"""Operators that submit exports, and that ask a table which days it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.operators.audience_trends_coverage import (
    AudienceTrendsCoverageOperator,
    AudienceTrendsPlanOperator,
    AudienceTrendsVerifyOperator,
)
from airflow_provider_cordial.operators.audience_trends_freshness import AudienceTrendsFreshnessOperator
from airflow_provider_cordial.operators.export import CordialExportOperator

if TYPE_CHECKING:
    from airflow_provider_cordial.operators.account_monitor import CordialAccountMonitorExportOperator
    from airflow_provider_cordial.operators.contact_activity import CordialContactActivityExportOperator
    from airflow_provider_cordial.operators.contacts import CordialContactsExportOperator
    from airflow_provider_cordial.operators.message_analytics import CordialMessageAnalyticsExportOperator

__all__ = [
    "AudienceTrendsCoverageOperator",
    "AudienceTrendsExportOperator",
    "AudienceTrendsFreshnessOperator",
    "AudienceTrendsPlanOperator",
    "AudienceTrendsVerifyOperator",
    "CordialAccountMonitorExportOperator",
    "CordialContactActivityExportOperator",
    "CordialContactsExportOperator",
    "CordialExportOperator",
    "CordialMessageAnalyticsExportOperator",
]

_MODULES = {
    "CordialAccountMonitorExportOperator": "account_monitor",
    "CordialContactActivityExportOperator": "contact_activity",
    "CordialContactsExportOperator": "contacts",
    "CordialMessageAnalyticsExportOperator": "message_analytics",
}


def __getattr__(name: str) -> Any:
    # On demand: a DAG file is parsed without the operators that it does not use.
    from airflow_provider_cordial._compat import lazy_import

    return lazy_import(__name__, name, _MODULES)
