"""Rows that an earlier version stored in the trigger table load and run after an upgrade."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

#: Literal on purpose: a class path or an argument that is renamed breaks the rows in users' databases.
ROWS: list[tuple[str, dict[str, Any]]] = [
    (
        "airflow_provider_cordial.triggers.job.JobTrigger",
        {"cordial_conn_id": "cordial_eu", "job_id": "j1", "poll_interval": 30.0, "deadline": 1764000000.5},
    ),
    (
        "airflow_provider_cordial.triggers.export_job.ExportJobTrigger",
        {"cordial_conn_id": "cordial_eu", "name_prefix": "weekly-", "job_name": None, "poll_interval": 60.0},
    ),
    (
        "airflow_provider_cordial.triggers.export_job.ExportJobTrigger",
        {"cordial_conn_id": "cordial_eu", "name_prefix": "", "job_name": "ExportContacts", "poll_interval": 60},
    ),
]


@pytest.mark.parametrize(("path", "arguments"), ROWS)
def test_a_stored_row_loads_and_serializes_to_itself(path: str, arguments: dict[str, Any]) -> None:
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**arguments)
    assert trigger.serialize() == (path, arguments)
