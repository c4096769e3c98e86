"""Export the Audience Trends of the previous day to Google Cloud Storage, and load them into BigQuery.

Requires two Airflow connections: ``cordial_default`` and ``google_cloud_default``, and the Google Cloud Storage
integration enabled in Cordial. The account of ``google_cloud_default`` reads the bucket, and needs BigQuery Data Editor
on the dataset ``marketing``, which exists, and BigQuery Job User on its project.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import GcsDestination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.sensors import JobSensor
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator

with DAG(
    dag_id="example_gcs_to_bigquery",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START gcs_to_bigquery]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=GcsDestination(bucket="acme-cordial", path="trends"),
    )
    wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="google_cloud_default",
        table="my-project.marketing.audience_trends",
        create_table=True,
    )
    export >> wait >> load
    # [END gcs_to_bigquery]
