from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.trends import Columns, LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables import Staging, build_table
from tests.integration.servers.databricks import VOLUME, Databricks
from tests.integration.warehouses import Warehouse

_CLIENT = "databricks.sql.client:Cursor.execute"
_STORAGE = "databricks.sql.common.unified_http_client:UnifiedHttpClient.request"


class DatabricksSql(Warehouse):
    served_by = "Thrift service of databricks-sql-connector 4.9, Sail 0.7.2 with Delta tables"
    text = "STRING"
    staging = Staging(location=VOLUME)
    steps = (_CLIENT, _STORAGE)
    records_with_the_load = False
    not_shown = {  # noqa: RUF012
        "test_overlapping_loads_at_once_record_each_correction": "Delta has no transaction over two tables"
    }

    def __init__(self, server: Databricks) -> None:
        self.server = server

    def connection(self) -> dict[str, Any]:
        return self.server.airflow_connection()

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.query(statement)

    def drop(self) -> None:
        self.server.forget()
        for table in (self.table, f"{self.table}_corrections"):
            self.run(f"DROP TABLE IF EXISTS {table}")

    def leftovers(self) -> Sequence[str]:
        return tuple(self.server.staged())

    def load(self, one: TrendsBatch, columns: Columns | None = None, *, create: bool = True) -> LoadResult:
        # As task instances have folders of their own.
        staging = Staging(location=VOLUME, owner=re.sub(r"\W", "_", threading.current_thread().name))
        table = build_table("warehouse", self.table, columns or Columns(), create=create, staging=staging)
        result = table.load(one)
        assert isinstance(result, LoadResult)
        return result

    def create(self, columns: str) -> None:
        # Databricks adds a constraint to a table that exists.
        columns, _, check = columns.partition(", CHECK ")
        super().create(columns)
        if check:
            self.run(f"ALTER TABLE {self.table} ADD CONSTRAINT checked CHECK {check}")


@contextmanager
def serve(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Warehouse]:
    yield DatabricksSql(request.getfixturevalue("databricks"))
