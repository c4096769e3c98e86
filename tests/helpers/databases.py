"""A database of which the provider knows nothing but its DbApiHook."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_cordial._compat import BaseHook


class UnknownHook(DbApiHook):
    """The hook of SQLite's driver with autocommit as other drivers have it.

    :param path: of the database.
    """

    conn_name_attr = "unknown_conn_id"
    supports_autocommit = True
    placeholder = "?"

    def __init__(self, path: str) -> None:
        super().__init__("warehouse")
        self.path = path

    def get_conn(self) -> Any:
        return sqlite3.connect(self.path, isolation_level=None)

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        conn.isolation_level = None if autocommit else ""

    def get_autocommit(self, conn: Any) -> bool:
        return conn.isolation_level is None


def serve_unknown(monkeypatch: pytest.MonkeyPatch, path: str, hook: type[UnknownHook] = UnknownHook) -> None:
    """Let every Airflow connection be one to such a database."""
    monkeypatch.setattr(BaseHook, "get_hook", lambda *_args, **_options: hook(path))
