from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from tests.integration.warehouses import Warehouse
from tests.integration.warehouses.files import FileWarehouse


class DuckDb(FileWarehouse):
    conn_type = "duckdb"
    connect = duckdb.connect
    own_key = "id BIGINT DEFAULT nextval('numbers') PRIMARY KEY"
    is_concurrent = False

    def create(self, columns: str) -> None:
        self.run("CREATE SEQUENCE numbers")
        super().create(columns)


@contextmanager
def serve(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Warehouse]:
    yield DuckDb(folder / "warehouse.duckdb")
