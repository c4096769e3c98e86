"""Triggers: wait for a job, and watch an account for finished exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cordial.triggers.export_job import ExportJobTrigger
    from airflow_provider_cordial.triggers.job import JobTrigger

__all__ = ["ExportJobTrigger", "JobTrigger"]


def __getattr__(name: str) -> Any:
    # On demand: Airflow's trigger classes take a third of the time in which a DAG file should be parsed.
    from airflow_provider_cordial._compat import lazy_import

    return lazy_import(__name__, name, {"ExportJobTrigger": "export_job", "JobTrigger": "job"})
