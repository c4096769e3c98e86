"""Export a day, wait, and load it: once in the triggerer and once in the task. Killed tasks are retried at once."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_cordial.destinations import FileWait, SftpDestination
from airflow_provider_cordial.task_groups import audience_trends_to_sql

DAY = "{{ dag_run.conf['day'] }}"

for dag_id, deferrable in (("deferred", True), ("blocking", False)):
    with DAG(
        dag_id,
        schedule=None,
        is_paused_upon_creation=False,
        max_active_runs=20,
        default_args={"retries": 60, "retry_delay": timedelta(seconds=1)},
    ):
        audience_trends_to_sql(
            audiences=["opened_last_30_days", "purchased_last_30_days"],
            destination=SftpDestination(conn_id="sftp_default", path="exports"),
            conn_id="warehouse",
            table="trends_under_faults",
            timeframe={"start": DAY, "end": DAY},
            export_options={"deferrable": deferrable, "settling_time": 4, "timeout": 120},
            load_options={
                "create_table": True,
                "file_wait": FileWait(timeout=60, poll_interval=1, stable_for=0.5, read_timeout=10),
            },
        )
