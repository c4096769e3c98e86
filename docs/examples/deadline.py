"""A deadline that counts from the account's midnight; tests/integration/test_deadlines.py creates a run of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, AsyncCallback, DeadlineAlert  # type: ignore[attr-defined]

from airflow_provider_cordial.deadlines import AccountMidnight
from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.task_groups import audience_trends_to_sql

# [START deadline]
with DAG(
    "docs_deadline",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    deadline=DeadlineAlert(
        reference=AccountMidnight(timezone="America/Los_Angeles"),
        interval=timedelta(hours=6),
        callback=AsyncCallback(
            "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
            kwargs={"to": "data@example.com", "subject": "Audience Trends are late", "html_content": "{{ dag_run }}"},
        ),
    ),
):
    audience_trends_to_sql(
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        load_options={"create_table": True},
    )
# [END deadline]
