"""What every supported version of Airflow must do: wait in the triggerer, load, and retry."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.sensors import JobSensor
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator

AUDIENCES = ["opened_last_30_days", "new_subscribers"]
DESTINATION = SftpDestination(conn_id="sftp_default", path="exports")

with DAG("waits", schedule=None, is_paused_upon_creation=False):
    export = AudienceTrendsExportOperator(task_id="export", audiences=AUDIENCES, destination=DESTINATION)
    wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
    load = AudienceTrendsToSqlOperator(
        task_id="load", export=export.output["export"], conn_id="lite", table="trends", create_table=True
    )
    export >> wait >> load

with DAG("retries", schedule=None, is_paused_upon_creation=False):
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=AUDIENCES,
        destination=DESTINATION,
        wait_for_completion=True,
        deferrable=True,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
    AudienceTrendsToSqlOperator(
        task_id="load", export=export.output["export"], conn_id="elephant", table="trends", create_table=True
    )
