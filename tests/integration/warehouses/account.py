"""A warehouse of yours in place of the emulators; see ``scripts/test_warehouse.py``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.trends.tables import Staging
from tests.integration.warehouses import ACCOUNT, Warehouse

_BIGQUERY = ("gcpbigquery", "google_cloud_platform")

#: What the types of a table are called where they are not TEXT and TIMESTAMP.
_TYPES = {
    "databricks": ("STRING", "TIMESTAMP"),
    "gcpbigquery": ("STRING", "TIMESTAMP"),
    "google_cloud_platform": ("STRING", "TIMESTAMP"),
    "mssql": ("NVARCHAR(200)", "DATETIME2"),
    "mysql": ("VARCHAR(100)", "DATETIME"),
    "redshift": ("VARCHAR(200)", "TIMESTAMP"),
    "snowflake": ("VARCHAR", "TIMESTAMP_NTZ"),
}


class Account(Warehouse):
    """The warehouse behind a connection that a person gives.

    :param given: the fields of the ``connection``, the ``table``, and the ``staging`` with its ``staging_conn_id``.
    """

    served_by = "the account of the given connection"

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.conn_type = str(given["connection"]["conn_type"])
        # Of this instance: the class knows no account.
        self.table = given["table"]  # type: ignore[misc]
        self.text, self.moment = _TYPES.get(self.conn_type, ("TEXT", "TIMESTAMP"))  # type: ignore[misc]
        self.records_with_the_load = self.conn_type != "databricks"  # type: ignore[misc]
        self.staging = Staging(location=given.get("staging"), conn_id=given.get("staging_conn_id"))  # type: ignore[misc]

    def connection(self) -> dict[str, Any]:
        return dict(self.given["connection"])

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        if self.conn_type in _BIGQUERY:
            from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

            hook = BigQueryHook(gcp_conn_id="warehouse", use_legacy_sql=False)
            return [
                tuple(row.values()) for row in hook.get_client(project_id=hook.project_id).query_and_wait(statement)
            ]
        with closing(self._hook().get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            rows = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
            connection.commit()
            return rows

    def drop(self) -> None:
        for table in (self.table, f"{self.table}_corrections"):
            self.run(f"DROP TABLE IF EXISTS {table}")

    def _hook(self) -> Any:
        if self.conn_type == "databricks":
            from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

            return DatabricksSqlHook("warehouse")
        return BaseHook.get_hook("warehouse")


@contextmanager
def serve(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Warehouse]:
    yield Account(json.loads(os.environ[ACCOUNT]))
