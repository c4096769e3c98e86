"""The same exports by one task each, and by three: what a cluster spends on them."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import DAG, task_group

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.exports import Timeframe
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.sensors import JobSensor
from airflow_provider_cordial.transfers import AudienceTrendsSyncOperator, AudienceTrendsToSqlOperator

DAYS = [day.to_json() for day in Timeframe(date(2026, 1, 1), date(2026, 1, 20)).chunks(1)]
EXPORT: dict[str, Any] = {
    "audiences": ["opened_last_30_days", "purchased_last_30_days"],
    "destination": SftpDestination(conn_id="sftp_default", path="exports"),
}

with DAG("cost_one", schedule=None):
    AudienceTrendsSyncOperator.partial(
        task_id="sync", conn_id="warehouse", table="cost_one", create_table=True, **EXPORT
    ).expand(timeframe=DAYS)

with DAG("cost_three", schedule=None):

    @task_group
    def day(timeframe: dict[str, str]) -> None:
        export = AudienceTrendsExportOperator(task_id="export", timeframe=timeframe, **EXPORT)
        wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
        load = AudienceTrendsToSqlOperator(
            task_id="load", export=export.output["export"], conn_id="warehouse", table="cost_three", create_table=True
        )
        export >> wait >> load

    day.expand(timeframe=DAYS)
