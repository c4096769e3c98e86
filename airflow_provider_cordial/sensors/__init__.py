"""Sensors: wait for a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cordial.sensors.job import JobSensor

__all__ = ["JobSensor"]


def __getattr__(name: str) -> Any:
    # On demand, as for the triggers: importing the package costs a DAG file nothing.
    from airflow_provider_cordial._compat import lazy_import

    return lazy_import(__name__, name, {"JobSensor": "job"})
