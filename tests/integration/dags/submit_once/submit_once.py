"""DAGs whose export is killed, cleared, edited, and backfilled: the rows of the table in docs/submit-once.md."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import SftpDestination, UiDestination
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator

LOS_ANGELES = ZoneInfo("America/Los_Angeles")

#: A test edits both in this file.
EDITED_RETRIES = 1
EDITED_AUDIENCES = ["opened_last_30_days"]


def export(**options: Any) -> AudienceTrendsExportOperator:
    defaults = {
        "task_id": "export",
        "audiences": ["opened_last_30_days"],
        "destination": UiDestination(),
        "wait_for_completion": True,
        "deferrable": True,
        "settling_time": 5,
        "retries": 2,
        "retry_delay": timedelta(seconds=1),
    }
    return AudienceTrendsExportOperator(**{**defaults, **options})


with DAG("by_hand", schedule=None, is_paused_upon_creation=False):
    export()

with DAG("in_worker", schedule=None, is_paused_upon_creation=False):
    export(deferrable=False, poll_interval=1)

with DAG("failing", schedule=None, is_paused_upon_creation=False):
    # Nothing listens there, so the job fails.
    export(destination=SftpDestination(conn_id="nowhere", path="exports"), retries=1)

with DAG("edited", schedule=None, is_paused_upon_creation=False):
    export(retries=EDITED_RETRIES, audiences=EDITED_AUDIENCES)

with DAG("neighbors", schedule=None, is_paused_upon_creation=False):
    # The first try runs into its timeout, and the retry waits for the test to clear the neighbor.
    export(deferrable=False, poll_interval=1, timeout=3, retries=10, retry_delay=timedelta(seconds=30))
    export(task_id="neighbor", wait_for_completion=False)

with DAG(
    "daily",
    schedule="0 3 * * *",
    start_date=datetime(2026, 11, 11, tzinfo=LOS_ANGELES),
    end_date=datetime(2026, 11, 12, tzinfo=LOS_ANGELES),
    catchup=True,
    is_paused_upon_creation=False,
):
    export()
