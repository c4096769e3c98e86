from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.warehouses import Warehouse
from tests.integration.warehouses.files import FileWarehouse


class Sqlite(FileWarehouse):
    conn_type = "sqlite"
    connect = sqlite3.connect
    own_key = "id INTEGER PRIMARY KEY"


@contextmanager
def serve(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Warehouse]:
    yield Sqlite(folder / "warehouse.db")
