"""One wait for each job in the conf of a run."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_cordial.sensors.job import JobSensor

with DAG("waits", schedule=None, is_paused_upon_creation=False):

    @task
    def job_ids(dag_run: Any = None) -> list[str]:
        return str(dag_run.conf["job_ids"]).split()

    JobSensor.partial(task_id="wait", deferrable=True).expand(job_id=job_ids())
