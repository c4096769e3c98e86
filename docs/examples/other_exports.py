"""The recipes of docs/other-exports.md; tests/integration/test_docs.py runs each DAG."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.operators import (
    CordialAccountMonitorExportOperator,
    CordialContactActivityExportOperator,
    CordialContactsExportOperator,
    CordialMessageAnalyticsExportOperator,
)
from airflow_provider_cordial.transfers import DeliveredFileToObjectStorageOperator

START = datetime(2026, 1, 1, tzinfo=ZoneInfo("America/Los_Angeles"))

with DAG("docs_contacts", schedule="0 3 * * *", start_date=START, catchup=False):
    # [START contacts]
    contacts = CordialContactsExportOperator(
        task_id="contacts",
        fields=["channels.email.address", "channels.email.subscribeStatus"],
        audience_key="opened_last_30_days",
        show_header=True,
        compress=True,
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        wait_for_completion=True,
        deferrable=True,
    )
    DeliveredFileToObjectStorageOperator(
        task_id="copy",
        export=contacts.output["export"],
        path="{{ var.value.contacts_folder }}",
    )
    # [END contacts]

with DAG("docs_activity", schedule="0 3 * * *", start_date=START, catchup=False):
    # [START activity]
    CordialContactActivityExportOperator(
        task_id="activity",
        selected_action_names=["open", "click"],
        export_type="json",
        limit_records_per_file=1_000_000,
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        wait_for_completion=True,
        deferrable=True,
    )
    # [END activity]

with DAG("docs_hour", schedule=None, start_date=START):
    # [START hour]
    CordialContactActivityExportOperator(
        task_id="hour",
        selected_timeframe_start="2026-11-10T05:00:00Z",
        selected_timeframe_end="2026-11-10T05:59:59.999Z",
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
    )
    # [END hour]

with DAG("docs_analytics", schedule="0 3 * * *", start_date=START, catchup=False):
    # [START analytics]
    CordialMessageAnalyticsExportOperator(
        task_id="analytics",
        type="all",
        view_mode="by_message",
        show_header=True,
        days=7,
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
    )
    # [END analytics]
    # [START monitor]
    CordialAccountMonitorExportOperator(
        task_id="monitor",
        selected_level="Error",
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
    )
    # [END monitor]
