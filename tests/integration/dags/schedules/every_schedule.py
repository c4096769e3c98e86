"""One DAG for each kind of schedule that decides the days of an export."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import (
    DAG,
    Asset,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
)

from airflow_provider_cordial.destinations import SftpDestination, UiDestination
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.sensors.job import JobSensor
from airflow_provider_cordial.task_groups import keep_audience_trends
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator

ZONE = "America/Los_Angeles"
LOS_ANGELES = ZoneInfo(ZONE)
EXPORTED = Asset("cordial_trends")
DAYS = Asset("cordial_days")
FEBRUARY = Timeframe(date(2026, 2, 1), date(2026, 2, 3))
AUDIENCES = ["opened_last_30_days", 'Käufer, "Gold"']


def at(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=LOS_ANGELES)


def dag(dag_id: str, schedule: Any, start: int = 11, end: int | None = None) -> DAG:
    return DAG(
        dag_id=dag_id,
        schedule=schedule,
        start_date=at(start),
        end_date=at(end) if end else None,
        catchup=True,
        is_paused_upon_creation=False,
        # Airflow fails a task whose trigger fires before a busy scheduler has noted the end of its process. The next
        # try resumes with the same job.
        default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
    )


def export(**options: Any) -> AudienceTrendsExportOperator:
    defaults: dict[str, Any] = {
        "task_id": "export",
        "audiences": AUDIENCES,
        "destination": UiDestination(),
        "wait_for_completion": True,
        "deferrable": True,
    }
    return AudienceTrendsExportOperator(**{**defaults, **options})


with dag("cron", CronTriggerTimetable("0 3 * * *", timezone=ZONE), 11, 13):
    task = export(destination=SftpDestination(conn_id="sftp_default", path="exports"), wait_for_completion=False)
    wait = JobSensor(task_id="wait", job_id=task.output, deferrable=True)
    load = AudienceTrendsToSqlOperator(
        task_id="load", export=task.output["export"], conn_id="warehouse", create_table=True
    )
    task >> wait >> load

with dag("interval", CronDataIntervalTimetable("0 0 * * *", ZONE), 10, 11):
    export()

# One run only, because Airflow merges two events that are close to each other into one run.
with dag("weeks", CronDataIntervalTimetable("0 0 * * MON", ZONE), 2, 2):
    export(outlets=[EXPORTED])

with dag("partition", CronPartitionTimetable("0 0 * * *", timezone=ZONE, run_offset=-1, key_format="%Y-%m-%d"), 11, 12):
    export()

with dag("by_asset", [EXPORTED]):
    export(days=3)

with dag("at_run_time", PartitionedAtRuntime()):
    export(timeframe=FEBRUARY, outlets=[DAYS])

with dag("of_days", PartitionedAssetTimetable(assets=DAYS)):
    export()

with dag("ranges", None):
    AudienceTrendsExportOperator.partial(
        task_id="export", audiences=AUDIENCES, destination=UiDestination(), wait_for_completion=True, deferrable=True
    ).expand(timeframe=FEBRUARY.chunks(2))

with dag("by_hand", None):
    export(days=2)

with dag("wrong_key", None):
    export(cordial_conn_id="cordial_wrong")

with dag("wrong_sftp", None):
    export(destination=SftpDestination(conn_id="sftp_wrong", path="exports"), retries=0)

with dag("explicit", None):
    export(
        name="explicit-{{ dag_run.conf['start'] }}",
        selected_timeframe_start="{{ dag_run.conf['start'] }}",
        selected_timeframe_end="{{ dag_run.conf['end'] }}",
    )

for dag_id in ("approved", "rejected"):
    with dag(dag_id, None):
        keep_audience_trends.override(group_id="keep")(
            audiences=AUDIENCES,
            destination=SftpDestination(conn_id="sftp_default", path="exports"),
            conn_id="warehouse",
            table=dag_id,
            create_table=True,
            first_day="2026-05-01",
            last_day="2026-05-03",
            approve=True,
            approve_above=0,
        )
