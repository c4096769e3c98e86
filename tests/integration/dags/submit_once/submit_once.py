"""DAGs whose export is killed, cleared, and backfilled."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, CronTriggerTimetable

from airflow_provider_cordial.destinations import UiDestination
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator

LOS_ANGELES = ZoneInfo("America/Los_Angeles")


def export(**options: Any) -> AudienceTrendsExportOperator:
    return AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days"],
        destination=UiDestination(),
        wait_for_completion=True,
        deferrable=True,
        settling_time=5,
        retries=2,
        retry_delay=timedelta(seconds=1),
        **options,
    )


with DAG("by_hand", schedule=None, is_paused_upon_creation=False):
    export()

with DAG(
    "daily",
    schedule=CronTriggerTimetable("0 3 * * *", timezone="America/Los_Angeles"),
    start_date=datetime(2026, 11, 11, tzinfo=LOS_ANGELES),
    end_date=datetime(2026, 11, 12, tzinfo=LOS_ANGELES),
    catchup=True,
    is_paused_upon_creation=False,
):
    export()
