"""The recipes that the documentation quotes; tests/integration/test_docs.py runs each DAG."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.exceptions import AirflowOptionalProviderFeatureException
from airflow.sdk import DAG, task

from airflow_provider_cordial.assets import table_asset
from airflow_provider_cordial.destinations import FileWait, SftpDestination
from airflow_provider_cordial.exports import Timeframe
from airflow_provider_cordial.operators import (
    AudienceTrendsExportOperator,
    AudienceTrendsFreshnessOperator,
    AudienceTrendsPlanOperator,
)
from airflow_provider_cordial.retry_policy import CordialRetryPolicy
from airflow_provider_cordial.task_groups import audience_trends_to_sql, keep_audience_trends
from airflow_provider_cordial.transfers import (
    AudienceTrendsReconcileOperator,
    AudienceTrendsSyncOperator,
    AudienceTrendsToFileOperator,
    AudienceTrendsToSqlOperator,
)
from airflow_provider_cordial.trends import Columns, CsvFormat, plan_exports

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowOptionalProviderFeatureException):  # Airflow 3.0
    ApprovalOperator = None  # type: ignore[misc]

START = datetime(2026, 1, 1, tzinfo=ZoneInfo("America/Los_Angeles"))
AUDIENCES = ["opened_last_30_days", "purchased_last_30_days"]
DESTINATION = SftpDestination(conn_id="sftp_default", path="exports")

with DAG("docs_one_task", schedule="0 3 * * *", start_date=START, catchup=False):
    # [START one_task]
    export = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        wait_for_completion=True,
        deferrable=True,
    )
    # [END one_task]
    # [START accounts]
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="warehouse",
        table="trends_of_accounts",
        create_table=True,
        columns=Columns(scope={"account": "us"}, names={"snapshot_date": "day"}),
    )
    # [END accounts]

with DAG("docs_csv_format", schedule="0 3 * * *", start_date=START, catchup=False):
    export = AudienceTrendsExportOperator(
        task_id="export", audiences=AUDIENCES, destination=DESTINATION, wait_for_completion=True, deferrable=True
    )
    # [START csv_format]
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="warehouse",
        table="audience_trends",
        create_table=True,
        csv_format=CsvFormat(date_formats=("%m/%d/%Y",), blank_marks=("", "n/a")),
        file_wait=FileWait(timeout=1800),
        on_missing="warn",
    )
    # [END csv_format]

with DAG("docs_corrections", schedule="0 3 * * *", start_date=START, catchup=False):
    export = AudienceTrendsExportOperator(
        task_id="export", audiences=AUDIENCES, destination=DESTINATION, wait_for_completion=True, deferrable=True
    )
    # [START corrections]
    AudienceTrendsToSqlOperator(
        task_id="load",
        export=export.output["export"],
        conn_id="warehouse",
        table="audience_trends",
        create_table=True,
        corrections=True,
        max_change=0.5,
    )
    # [END corrections]

if ApprovalOperator is not None:
    with DAG("docs_approval", schedule="0 3 * * *", start_date=START, catchup=False):
        export = AudienceTrendsExportOperator(
            task_id="export", audiences=AUDIENCES, destination=DESTINATION, wait_for_completion=True, deferrable=True
        )
        # [START approval]
        what: dict[str, Any] = {
            "export": export.output["export"],
            "conn_id": "warehouse",
            "table": "approved_trends",
            "create_table": True,
            "corrections": True,
        }
        load = AudienceTrendsToSqlOperator(task_id="load", max_change=0.5, **what)
        approve = ApprovalOperator(
            task_id="approve",
            trigger_rule="all_failed",
            subject="Load the audience trends of {{ ds }}, although the task load failed?",
            body="Its log shows the largest changes, if it failed because more than 50% would change.",
        )
        load >> approve >> AudienceTrendsToSqlOperator(task_id="load_approved", **what)
        # [END approval]

with DAG("docs_files", schedule="0 3 * * *", start_date=START, catchup=False):
    export = AudienceTrendsExportOperator(
        task_id="export", audiences=AUDIENCES, destination=DESTINATION, wait_for_completion=True, deferrable=True
    )
    # [START files]
    AudienceTrendsToFileOperator(
        task_id="write",
        export=export.output["export"],
        path="{{ var.value.trends_folder }}",
        file_format="csv",
    )
    # [END files]

with DAG("docs_timeframe", schedule=None, start_date=START):
    # [START timeframe]
    AudienceTrendsExportOperator(
        task_id="export_range",
        audiences=["opened_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        selected_timeframe_start="2026-10-01",
        selected_timeframe_end="2026-10-31",
    )
    # [END timeframe]
    # [START skip]
    AudienceTrendsExportOperator(
        task_id="export_others",
        audiences=["opened_last_30_days", "renamed_last_week"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        timeframe=Timeframe(date(2026, 10, 1), date(2026, 10, 31)),
        on_refused_audience="skip",
    )
    # [END skip]

first_day, last_day = date(2026, 9, 1), date(2026, 10, 15)

with DAG("docs_ranges", schedule=None, start_date=START):
    # [START ranges]
    audience_trends_to_sql.partial(
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        load_options={"create_table": True},
    ).expand(timeframe=Timeframe(first_day, last_day).chunks(31))
    # [END ranges]

with DAG("docs_after_load", schedule=[table_asset("warehouse", "audience_trends")], catchup=False):
    # [START after_load]
    @task
    def report(triggering_asset_events: Any = None) -> list[str]:
        """Return the days that were loaded; a run may have several events."""
        events = triggering_asset_events[table_asset("warehouse", "audience_trends")]
        return sorted({day for event in events for day in event.extra["days"]})

    # [END after_load]
    report()

# [START retry_policy]
with DAG(
    "docs_retry_policy",
    schedule="0 3 * * *",
    start_date=START,
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5), "retry_policy": CordialRetryPolicy()},
):
    audience_trends_to_sql(
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        load_options={"create_table": True},
    )
# [END retry_policy]


# [START reconcile]
@task
def plan_again(differences: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Return the exports that load the days that differ again."""
    days = {audience: [date.fromisoformat(day) for day in found] for audience, found in differences.items()}
    return [export.to_json() for export in plan_exports(days)]


with DAG("docs_reconcile", schedule="0 6 * * SUN", start_date=START, catchup=False):
    reconcile = AudienceTrendsReconcileOperator(
        task_id="reconcile",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        sample=50,
        days=28,
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        table="audience_trends",
        report_path="{{ var.value.trends_folder }}/differences.csv",
    )
    AudienceTrendsSyncOperator.partial(
        task_id="load_again",
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        table="audience_trends",
    ).expand_kwargs(plan_again(reconcile.output["differences"]))
# [END reconcile]

with DAG("docs_freshness", schedule="0 9 * * *", start_date=START, catchup=False):
    plan = AudienceTrendsPlanOperator(
        task_id="plan", audiences=AUDIENCES, conn_id="warehouse", first_day=2, create_table=True
    )
    sync = AudienceTrendsSyncOperator.partial(
        task_id="sync", destination=DESTINATION, conn_id="warehouse"
    ).expand_kwargs(plan.output)
    # [START freshness]
    fresh = AudienceTrendsFreshnessOperator(
        task_id="fresh",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        conn_id="warehouse",
        table="audience_trends",
    )
    # [END freshness]
    sync >> fresh

with DAG("docs_sync", schedule="0 3 * * *", start_date=START, catchup=False):
    # [START sync]
    AudienceTrendsSyncOperator(
        task_id="sync",
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        table="audience_trends",
        create_table=True,
    )
    # [END sync]

# [START keep_accounts]
ACCOUNTS = {"us": "cordial_us", "eu": "cordial_eu"}

with DAG("docs_keep_accounts", schedule="@daily", start_date=START, catchup=False, max_active_runs=1):
    for account, cordial_conn_id in ACCOUNTS.items():
        keep_audience_trends.override(group_id=account)(
            # The first day that each was tracked: earlier days are not expected.
            audiences={"opened_last_30_days": "2026-01-01", "purchased_last_30_days": "2026-06-15"},
            destination=SftpDestination(conn_id="sftp_default", path="exports"),
            conn_id="warehouse",
            table="trends_kept_whole",
            create_table=True,
            first_day="2026-05-01",
            last_day="2026-06-30",
            cordial_conn_id=cordial_conn_id,
            columns=Columns(scope={"account": account}),
        )
# [END keep_accounts]

with DAG("docs_keep_approved", schedule="@daily", start_date=START, catchup=False, max_active_runs=1):
    # [START keep_approved]
    keep_audience_trends(
        audiences=["opened_last_30_days", "purchased_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        table="trends_of_a_month",
        create_table=True,
        first_day=30,
        approve=True,
        approve_above=10,
    )
    # [END keep_approved]
