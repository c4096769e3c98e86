"""Export the Audience Trends of the previous day to Google Cloud Storage, and write Parquet there for BigQuery.

Requires two Airflow connections: ``cordial_default`` and ``google_cloud_default``, and the Google Cloud Storage
integration enabled in Cordial.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import GcsDestination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.sensors import JobSensor
from airflow_provider_cordial.transfers import AudienceTrendsToFileOperator

with DAG(
    dag_id="example_gcs_to_parquet",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START gcs_to_parquet]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=GcsDestination(bucket="acme-cordial", path="trends"),
    )
    wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
    load = AudienceTrendsToFileOperator(
        task_id="load",
        export=export.output["export"],
        path="gs://google_cloud_default@acme-cordial/long",
        file_format="parquet",
    )
    export >> wait >> load
    # [END gcs_to_parquet]
