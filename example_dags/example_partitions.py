"""One partition per day: exporting a day, also in a backfill, starts the DAG that processes that day, once.

Requires Airflow 3.2 or later, and the connections ``cordial_default``, ``sftp_default``, and ``warehouse``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG, CronPartitionTimetable, PartitionedAssetTimetable

from airflow_provider_cordial.assets import table_asset
from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.task_groups import audience_trends_to_sql

ZONE = "America/Los_Angeles"

# [START partitions]
with DAG(
    dag_id="example_partitions_producer",
    # The nightly run exports the previous day.
    schedule=CronPartitionTimetable("0 3 * * *", timezone=ZONE, run_offset=-1, key_format="%Y-%m-%d"),
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo(ZONE)),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["cordial"],
):
    audience_trends_to_sql(
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        table="trends_of_partitions",
        load_options={"create_table": True},
    )

with DAG(
    dag_id="example_partitions_consumer",
    schedule=PartitionedAssetTimetable(assets=table_asset("warehouse", "trends_of_partitions")),
    catchup=False,
    doc_md=__doc__,
    tags=["cordial"],
):
    SQLExecuteQueryOperator(
        task_id="contacts",
        conn_id="warehouse",
        sql="SELECT sum(contacts) FROM trends_of_partitions WHERE snapshot_date = '{{ dag_run.partition_key }}'",
    )
# [END partitions]
