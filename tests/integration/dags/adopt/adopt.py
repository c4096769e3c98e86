"""Exports whose answer is lost, and a task that waits for each."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_provider_cordial.destinations import UiDestination
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator

DEFAULTS: dict[str, Any] = {
    "task_id": "export",
    "destination": UiDestination(),
    "wait_for_completion": True,
    "deferrable": False,
    "settling_time": 5,
    "retries": 0,
}

with DAG("plain", schedule=None, is_paused_upon_creation=False):
    AudienceTrendsExportOperator(audiences=["opened_last_30_days"], **DEFAULTS) >> EmptyOperator(task_id="after")

with DAG("mapped", schedule=None, is_paused_upon_creation=False):
    AudienceTrendsExportOperator.partial(**DEFAULTS).expand(
        audiences=[["opened_last_30_days"], ["purchased_last_30_days"]]
    )
