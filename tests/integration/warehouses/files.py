"""The databases that are a file: SQLite, DuckDB, and one of which the provider knows nothing but its hook."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from tests.integration.warehouses import Warehouse


class FileWarehouse(Warehouse):
    """A database in a file.

    :param path: of the file.
    """

    conn_type: ClassVar[str]
    connect: ClassVar[Any]
    has_password = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def connection(self) -> dict[str, Any]:
        return {"conn_type": self.conn_type, "host": str(self.path)}

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(self.connect(str(self.path))) as connection:
            rows = list(connection.execute(statement).fetchall())
            connection.commit()
            return rows

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
