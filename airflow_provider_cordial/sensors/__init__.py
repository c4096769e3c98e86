"""Sensors: wait for a job."""

from __future__ import annotations

from airflow_provider_cordial.sensors.job import JobSensor

__all__ = ["JobSensor"]
