"""Keep a table whole: every day, export and load what the table lacks of the last year, and nothing else.

A new audience, a restored table, or a week without Airflow needs nothing but the next run. Requires the connections
``cordial_default``, ``sftp_default``, and ``warehouse``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.task_groups import keep_audience_trends

# [START keep_whole]
with DAG(
    dag_id="example_keep_whole",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    # A run fills all days: earlier runs have nothing left to do.
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["cordial"],
):
    keep_audience_trends(
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        table="trends_kept_whole",
        create_table=True,
        first_day=365,
        # Numbers of the last three days may still be corrected.
        look_back=3,
        sync_options={"max_active_tis_per_dag": 4},
    )
# [END keep_whole]
