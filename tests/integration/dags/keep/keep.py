"""Two accounts in one table, each of which is kept whole."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.task_groups import keep_audience_trends
from airflow_provider_cordial.trends import Columns

with DAG(
    "keep",
    schedule="0 3 * * *",
    start_date=datetime(2026, 11, 1, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
):
    for account in ("us", "eu"):
        keep_audience_trends.override(group_id=account)(
            audiences={"opened_last_30_days": "2026-10-01", "purchased_last_30_days": "2026-10-20"},
            destination=SftpDestination(conn_id="sftp_default", path="exports"),
            conn_id="warehouse",
            first_day="2026-10-10",
            last_day="2026-11-08",
            cordial_conn_id=f"cordial_{account}",
            columns=Columns(scope={"account": account}),
            create_table=True,
            look_back=2 if account == "eu" else 0,
            plan_options={"max_days": 20},
        )
