"""From a delivered file to a table, to files for a warehouse's own load, or to another place as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.transfers.audience_trends_reconcile import AudienceTrendsReconcileOperator
from airflow_provider_cordial.transfers.audience_trends_sync import AudienceTrendsSyncOperator
from airflow_provider_cordial.transfers.audience_trends_to_file import AudienceTrendsToFileOperator
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator

if TYPE_CHECKING:
    from airflow_provider_cordial.transfers.delivered_file import DeliveredFileToObjectStorageOperator

__all__ = [
    "AudienceTrendsReconcileOperator",
    "AudienceTrendsSyncOperator",
    "AudienceTrendsToFileOperator",
    "AudienceTrendsToSqlOperator",
    "DeliveredFileToObjectStorageOperator",
]


def __getattr__(name: str) -> Any:
    # On demand: a DAG file is parsed without the operators that it does not use.
    from airflow_provider_cordial._compat import lazy_import

    return lazy_import(__name__, name, {"DeliveredFileToObjectStorageOperator": "delivered_file"})
