"""Export a day of Audience Trends to S3 and load it into Redshift, which copies it from a bucket in its own region.

Requires three Airflow connections: ``cordial_default``, ``aws_default`` (static keys of a user that Cordial writes as,
and that the worker stages the file with; s3:GetObject, s3:PutObject, s3:DeleteObject, and s3:ListBucket), and
``redshift_default``, whose database has a schema ``marketing``.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import S3Destination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.sensors import JobSensor
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator
from airflow_provider_cordial.trends import Columns

with DAG(
    dag_id="example_s3_to_redshift",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START s3_to_redshift]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=S3Destination(bucket="acme-cordial", path="trends/{{ dag_run.run_after | ds_nodash }}"),
    )
    wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="redshift_default",
        table="marketing.audience_trends",
        staging="s3://acme-cordial/staging",
        columns=Columns(scope={"account": "acme"}),
        create_table=True,
    )
    export >> wait >> load
    # [END s3_to_redshift]
