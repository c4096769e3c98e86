from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mysql.connector
import pytest

from tests.integration.servers.mariadb import MariaDb
from tests.integration.warehouses import Warehouse

#: The driver's C extension is not available everywhere.
_CONNECTION = (
    "mysql.connector.connection_cext:CMySQLConnection"
    if mysql.connector.HAVE_CEXT
    else "mysql.connector.connection:MySQLConnection"
)


class Maria(Warehouse):
    text = "VARCHAR(100)"
    moment = "DATETIME"
    own_key = "id BIGINT AUTO_INCREMENT PRIMARY KEY"
    longest_name = 500
    steps = (f"{_CONNECTION}.cmd_query", f"{_CONNECTION}.commit")

    def __init__(self, server: MariaDb) -> None:
        self.server = server

    def connection(self) -> dict[str, Any]:
        return self.server.airflow_connection()

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.query(statement)

    def drop(self) -> None:
        self.run("DROP TABLE IF EXISTS trends, trends_corrections")


@contextmanager
def serve(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Warehouse]:
    yield Maria(request.getfixturevalue("mariadb"))
