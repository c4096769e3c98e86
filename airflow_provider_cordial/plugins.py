"""The plugin that makes the deadline reference known to Airflow, where it has deadline references."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

try:
    from airflow_provider_cordial.deadlines import AccountMidnight
except ImportError:  # Airflow 3.0 and 3.1: without custom deadline references
    _references: list[Any] = []
else:
    _references = [AccountMidnight]


class CordialPlugin(AirflowPlugin):
    """What Airflow needs to know before a DAG is parsed."""

    name = "cordial"
    deadline_references = _references
