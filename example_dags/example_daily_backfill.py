"""Export and wait in one task, load in another: every day, and for past days with ``airflow backfill create``.

At most four exports run in Cordial at a time, however many runs a backfill starts: a task that waits counts while it is
deferred. For a limit over several DAGs use a pool that was created with ``--include-deferred``. To backfill:

    airflow backfill create --dag-id example_daily_backfill --from-date 2026-01-01 --to-date 2026-02-01

Requires the connections ``cordial_default``, ``sftp_default``, and ``warehouse``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator

with DAG(
    dag_id="example_daily_backfill",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["cordial"],
) as dag:
    # [START daily_backfill]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        wait_for_completion=True,
        deferrable=True,
        max_active_tis_per_dag=4,
    )
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="warehouse",
        table="daily_trends",
        create_table=True,
    )
    # [END daily_backfill]
