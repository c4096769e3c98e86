"""Export in one DAG and load in another, which may belong to another team: the delivered file is an asset.

Requires the connections ``cordial_default``, ``sftp_default``, and ``warehouse``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, task

from airflow_provider_cordial.assets import delivery_asset, exports_to_load, table_asset
from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.operators import AudienceTrendsExportOperator
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator

# [START export_only]
destination = SftpDestination(conn_id="sftp_default", path="exports")
delivered = delivery_asset(destination)
loaded = table_asset("warehouse", "trends_of_another_dag")

with DAG(
    dag_id="example_export_only",
    schedule="0 3 * * *",
    start_date=datetime(2025, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    doc_md=__doc__,
    tags=["cordial"],
):
    AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=destination,
        wait_for_completion=True,
        deferrable=True,
        outlets=[delivered],
    )

with DAG(
    dag_id="example_load_only",
    schedule=[delivered],
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["cordial"],
):

    @task(inlets=[delivered, loaded])
    def exports(inlet_events: Any = None) -> list[dict[str, Any]]:
        """Return all exports that are delivered and not loaded, also those that no run received."""
        return exports_to_load(inlet_events, delivered, loaded)

    AudienceTrendsToSqlOperator.partial(
        task_id="load",
        conn_id="warehouse",
        table="trends_of_another_dag",
        create_table=True,
        outlets=[loaded],
    ).expand(export=exports())
# [END export_only]
