"""Export the Audience Trends of the previous day, wait for the job, and load the file: every day, with catch-up.

Requires three Airflow connections: ``cordial_default``, ``sftp_default`` (which Cordial writes to and Airflow reads
from), and ``warehouse`` (any database with a DbApiHook).
"""

from __future__ import annotations

# [START dag]
from datetime import datetime
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.sensors import JobSensor
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator

# Cordial takes its snapshots at midnight in Los Angeles: in that time zone a day of the DAG is a day of the trends.
LOS_ANGELES = ZoneInfo("America/Los_Angeles")

with DAG(
    dag_id="example_audience_trends",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=LOS_ANGELES),
    catchup=False,
    max_active_runs=4,
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START audience_trends]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days", "new_subscribers"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
    )
    wait = JobSensor(task_id="wait", job_id=export.output, deferrable=True)
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="warehouse",
        table="audience_trends",
        create_table=True,
    )
    export >> wait >> load
    # [END audience_trends]
# [END dag]
