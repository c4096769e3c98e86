"""Run the export operator without a scheduler."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator

SFTP = SftpDestination(conn_id="sftp_default", path="exports")


class TaskInstance(SimpleNamespace):
    """The part of a task instance that the operator needs."""

    def __init__(self, **fields: Any) -> None:
        identity = {"dag_id": "Der tägliche.DAG", "task_id": "export", "run_id": "scheduled__1", "map_index": -1}
        super().__init__(**{**identity, "max_tries": 2, "try_number": 1, "xcoms": {}, **fields})

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms[key]


class Store:
    """The part of the task state store that is used; values pass through JSON."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


def run_context(*, conf: dict[str, Any] | None = None, clear_number: int = 0, **fields: Any) -> dict[str, Any]:
    """Return the context of a task; ``fields`` are those of its task instance."""
    end = datetime(2026, 11, 12, 11, tzinfo=UTC)
    return {
        "ti": TaskInstance(**fields),
        "data_interval_start": end,
        "data_interval_end": end,
        "dag_run": SimpleNamespace(run_after=end, conf=conf or {}, clear_number=clear_number),
    }


def export(context: dict[str, Any] | None = None, **options: Any) -> tuple[str, dict[str, Any]]:
    """Execute the operator and return the job id and the pushed export."""
    defaults: dict[str, Any] = {"task_id": "export", "audiences": ["opened_last_30_days"], "destination": SFTP}
    context = context or run_context()
    job_id = AudienceTrendsExportOperator(**{**defaults, **options}).execute(context)  # type: ignore[arg-type]
    return job_id, context["ti"].xcoms["export"]
