from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers.snowflake import Snowflake, installed_version
from tests.integration.warehouses import Warehouse


class SnowflakeWarehouse(Warehouse):
    served_by = f"fakesnow {installed_version()}"
    text = "VARCHAR"
    moment = "TIMESTAMP_NTZ"
    own_key = "id NUMBER AUTOINCREMENT PRIMARY KEY"
    steps = (
        "snowflake.connector.cursor:SnowflakeCursor.execute",
        "snowflake.connector.file_transfer_agent:SnowflakeFileTransferAgent.execute",
    )

    def __init__(self, server: Snowflake) -> None:
        self.server = server

    def connection(self) -> dict[str, Any]:
        return self.server.airflow_connection()

    def set_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.server.environment().items():
            monkeypatch.setenv(name, value)
        self.server.reset()

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.query(statement)

    def rows(
        self, columns: str = "audience, snapshot_date, contacts, job_id", *, table: str | None = None
    ) -> list[tuple[Any, ...]]:
        # Those of killed loads, as a retry some minutes later finds them.
        self.server.end_sessions()
        return super().rows(columns, table=table)

    def drop(self) -> None:
        for table in ("trends", "trends_corrections"):
            self.run(f"DROP TABLE IF EXISTS {table}")

    def leftovers(self) -> Sequence[str]:
        return tuple(self.server.files())


@contextmanager
def serve(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Warehouse]:
    yield SnowflakeWarehouse(request.getfixturevalue("snowflake"))
