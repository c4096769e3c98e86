from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.trends import Columns, LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables import Staging, build_table
from tests.integration.servers.redshift import Redshift
from tests.integration.warehouses import Warehouse

PREFIX = "contract/of redshift"


class RedshiftDouble(Warehouse):
    served_by = "PostgreSQL behind a proxy that speaks as Redshift does, and an S3 server"
    text = "VARCHAR(100)"
    own_key = "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    longest_name = 1024
    steps = (
        "redshift_connector:Cursor.execute",
        "redshift_connector:Connection.commit",
        "botocore.client:BaseClient._make_api_call",
    )

    def __init__(self, server: Redshift) -> None:
        self.server = server
        self.location = f"s3://{server.bucket.name}/{PREFIX}"

    def set_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(self.server.bucket.connection()))

    def connection(self) -> dict[str, Any]:
        return self.server.airflow_connection()

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.query(statement)

    def drop(self) -> None:
        self.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def load(self, one: TrendsBatch, columns: Columns | None = None, *, create: bool = True) -> LoadResult:
        # Loads at once are those of several tasks.
        staging = Staging(location=self.location, owner=threading.current_thread().name)
        table = build_table("warehouse", self.table, columns or Columns(), create=create, staging=staging)
        result = table.load(one)
        assert isinstance(result, LoadResult)
        return result

    def leftovers(self) -> Sequence[str]:
        found = self.server.bucket.client().list_objects_v2(Bucket=self.server.bucket.name, Prefix=PREFIX)
        return tuple(item["Key"] for item in found.get("Contents", ()))


@contextmanager
def serve(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Warehouse]:
    yield RedshiftDouble(request.getfixturevalue("redshift"))
