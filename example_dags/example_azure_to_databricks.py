"""Export the Audience Trends of the previous day to Azure Blob Storage, and load them into a table of Databricks.

Requires three Airflow connections: ``cordial_default``, ``wasb_default`` (to the storage account, for reading), and
``databricks_default`` (with ``http_path`` in its extra). Its user needs USE CATALOG on ``main``, USE SCHEMA and CREATE
TABLE on ``main.marketing``, and READ VOLUME and WRITE VOLUME on the volume ``main.marketing.staging``; on a table that
exists, SELECT and MODIFY.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import AzureBlobDestination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.sensors import JobSensor
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator
from airflow_provider_cordial.trends import Columns

with DAG(
    dag_id="example_azure_to_databricks",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    max_active_runs=4,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START azure_to_databricks]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=AzureBlobDestination(account="acmemarketing", container="cordial", path="trends"),
    )
    wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="databricks_default",
        table="main.marketing.audience_trends",
        staging="/Volumes/main/marketing/staging",
        columns=Columns(scope={"account": "acme"}),
        create_table=True,
    )
    export >> wait >> load
    # [END azure_to_databricks]
