"""Export the previous day's Audience Trends, wait for the job in the triggerer, and load the file into a table."""

from datetime import datetime
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.task_groups import audience_trends_to_sql

with DAG(
    dag_id="cordial_trends",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    doc_md=__doc__,
) as dag:
    audience_trends_to_sql(
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        load_options={"create_table": True},
    )
