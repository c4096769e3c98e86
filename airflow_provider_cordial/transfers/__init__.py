"""Loads: from a delivered file to a table, or to files for a warehouse's own load."""

from __future__ import annotations

from airflow_provider_cordial.transfers.audience_trends_reconcile import AudienceTrendsReconcileOperator
from airflow_provider_cordial.transfers.audience_trends_sync import AudienceTrendsSyncOperator
from airflow_provider_cordial.transfers.audience_trends_to_file import AudienceTrendsToFileOperator
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator

__all__ = [
    "AudienceTrendsReconcileOperator",
    "AudienceTrendsSyncOperator",
    "AudienceTrendsToFileOperator",
    "AudienceTrendsToSqlOperator",
]
