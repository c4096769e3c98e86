"""Export the last seven days every day, so that late corrections in Cordial reach the table.

Requires the connections ``cordial_default``, ``sftp_default``, and ``warehouse``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.task_groups import audience_trends_to_sql

# [START look_back]
with DAG(
    dag_id="example_look_back",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    # Runs share days, and the latest export must win.
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["cordial"],
):
    audience_trends_to_sql(
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        table="trends_of_a_week",
        export_options={"days": 7},
        load_options={"create_table": True},
    )
# [END look_back]
