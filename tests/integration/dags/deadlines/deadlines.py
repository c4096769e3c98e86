"""DAGs with a deadline after the account's midnight; their task never runs, so their runs keep their deadlines."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert  # type: ignore[attr-defined]

from airflow_provider_cordial.deadlines import AccountMidnight

ALERT = DeadlineAlert(
    reference=AccountMidnight(timezone="America/Los_Angeles", lag=2),
    # Longer than the test runs, and across a clock change in spring and autumn.
    interval=timedelta(days=400, hours=6),
    callback=AsyncCallback("airflow.providers.smtp.notifications.smtp.SmtpNotifier"),
)

for dag_id, schedule in (("scheduled", "30 5 * * *"), ("by_hand", None)):
    with DAG(
        dag_id,
        schedule=schedule,
        start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo("America/Los_Angeles")),
        catchup=False,
        deadline=ALERT,
        is_paused_upon_creation=False,
    ):
        # Without such a pool it is never queued.
        BashOperator(task_id="never", bash_command="true", pool="unknown")
