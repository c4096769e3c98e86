"""Export a day of Audience Trends to S3 and load it into Snowflake, one load at a time.

Requires three Airflow connections: ``cordial_default``, ``aws_default`` (static keys of a user that Cordial writes
as, or ``use_iam_role=True``), and ``snowflake_default`` with a database, a warehouse, and a role that may create
tables and stages in its schema ``marketing``. If several DAGs load into the table, give them a pool of one slot.
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
    dag_id="example_s3_to_snowflake",
    schedule=CronDataIntervalTimetable("0 3 * * *", "America/Los_Angeles"),
    start_date=datetime(2026, 11, 10, 3, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START s3_to_snowflake]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=S3Destination(bucket="acme-cordial", path="snowflake/{{ dag_run.run_after | ds_nodash }}"),
    )
    wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="snowflake_default",
        table="marketing.audience_trends",
        columns=Columns(scope={"account": "acme"}),
        create_table=True,
        max_active_tis_per_dag=1,
    )
    export >> wait >> load
    # [END s3_to_snowflake]
