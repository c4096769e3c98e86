from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.databases import serve_unknown
from tests.integration.warehouses import Warehouse
from tests.integration.warehouses.files import FileWarehouse


class Unknown(FileWarehouse):
    served_by = "SQLite behind a hook of its own"
    conn_type = "unknown"
    connect = sqlite3.connect
    is_concurrent = False

    def set_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        serve_unknown(monkeypatch, str(self.path))


@contextmanager
def serve(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Warehouse]:
    yield Unknown(folder / "warehouse.unknown")
