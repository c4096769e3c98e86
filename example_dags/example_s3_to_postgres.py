"""Export a week of Audience Trends to S3 and load it into PostgreSQL, with the run in a column of its own.

Requires three Airflow connections: ``cordial_default``, ``aws_default`` (static keys of a user that Cordial writes
as, or ``use_iam_role=True``), and ``postgres_default``, whose database has a schema ``marketing``.
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

try:
    from airflow.sdk import CronDataIntervalTimetable
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.timetables.interval import CronDataIntervalTimetable

with DAG(
    dag_id="example_s3_to_postgres",
    schedule=CronDataIntervalTimetable("0 0 * * MON", "America/Los_Angeles"),
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START s3_to_postgres]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=S3Destination(bucket="acme-cordial", path="trends/{{ dag_run.run_after | ds_nodash }}"),
    )
    wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="postgres_default",
        table="marketing.audience_trends",
        columns=Columns(
            names={"snapshot_date": "day"}, scope={"account": "acme"}, constants={"run_id": "{{ run_id }}"}
        ),
        create_table=True,
    )
    export >> wait >> load
    # [END s3_to_postgres]
