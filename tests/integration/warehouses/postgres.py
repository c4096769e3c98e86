from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers.postgres import Postgres
from tests.integration.warehouses import Warehouse


class PostgreSql(Warehouse):
    own_key = "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    steps = ("psycopg:Cursor.execute", "psycopg:Copy.write", "psycopg:Connection.commit")

    def __init__(self, server: Postgres) -> None:
        self.server = server

    def connection(self) -> dict[str, Any]:
        return self.server.airflow_connection()

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with self.server.connect() as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def drop(self) -> None:
        self.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@contextmanager
def serve(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Warehouse]:
    yield PostgreSql(request.getfixturevalue("postgres"))
