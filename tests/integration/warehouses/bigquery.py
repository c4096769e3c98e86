from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers.bigquery import DATASET, PROJECT, BigQuery
from tests.integration.warehouses import Warehouse


class GoogleBigQuery(Warehouse):
    served_by = "bqemulator 1.4.0"
    table = f"{DATASET}.trends"
    text = "STRING"
    has_password = False
    #: Each request: the emulator's answers are complete before the next.
    steps = ("google.auth.transport.requests:AuthorizedSession.request",)

    def __init__(self, server: BigQuery) -> None:
        self.server = server

    def connection(self) -> dict[str, Any]:
        return self.server.airflow_connection()

    def set_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", self.server.url)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.query(statement)

    def create(self, columns: str) -> None:
        if "CHECK" in columns:
            # BigQuery has no such constraint, but types that limit a number.
            columns = columns.partition(", CHECK")[0].replace("BIGINT", "NUMERIC(3)")
        super().create(columns)

    def drop(self) -> None:
        for table in (self.table, f"{self.table}_corrections"):
            self.server.client().delete_table(f"{PROJECT}.{table}", not_found_ok=True)


@contextmanager
def serve(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Warehouse]:
    yield GoogleBigQuery(request.getfixturevalue("bigquery"))
