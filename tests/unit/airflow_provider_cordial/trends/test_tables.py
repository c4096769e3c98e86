"""Tables in databases that the provider does not know, or knows not to replace rows completely or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.exceptions import (
    InvalidConnectionError,
    MissingConnectionError,
    TableError,
    UnsuitableTableError,
    UnsupportedWarehouseError,
)
from airflow_provider_cordial.trends import Columns
from airflow_provider_cordial.trends.tables import build_table
from airflow_provider_cordial.trends.tables.generic import DbApiTable
from tests.helpers.databases import UnknownHook, serve_unknown
from tests.helpers.loads import batch, export, load
from tests.helpers.sandbox import SetConnection

COLUMNS = "audience TEXT, snapshot_date DATE, contacts BIGINT, job_id TEXT, loaded_at TIMESTAMP"


@pytest.fixture
def path(tmp_path: Path, set_connection: SetConnection) -> str:
    set_connection("warehouse", conn_type="unknown")
    return str(tmp_path / "warehouse")


def run(path: str, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(statement).fetchall()
        connection.commit()
        return rows


def unknown_table(**options: Any) -> DbApiTable:
    table = build_table("warehouse", "trends", Columns(), **options)
    assert type(table) is DbApiTable
    return table


@pytest.mark.parametrize(
    "conn_type",
    ["clickhouse", "trino", "presto", "hiveserver2", "druid"],
)
def test_a_database_without_transactions_is_refused_by_name(set_connection: SetConnection, conn_type: str) -> None:
    set_connection("warehouse", conn_type=conn_type, host="127.0.0.1", port=9)
    # Neither the destination of the export nor the database is reached.
    with pytest.raises(UnsupportedWarehouseError) as refused:
        load(export(destination={"type": "sftp", "conn_id": "missing", "path": "exports"}))
    text = refused.value.message
    assert f"Connection 'warehouse' ({conn_type}) is not supported" in text
    assert "AudienceTrendsToFileOperator" in text
    assert "register_table" in text
    assert isinstance(refused.value, AirflowFailException)
    assert isinstance(refused.value, InvalidConnectionError)


def test_a_hook_that_cannot_switch_autocommit_off_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hook(UnknownHook):
        supports_autocommit = False

    serve_unknown(monkeypatch, path, Hook)
    with pytest.raises(UnsupportedWarehouseError, match="cannot switch autocommit off"):
        unknown_table()


def test_a_database_whose_autocommit_stays_on_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hook(UnknownHook):
        def set_autocommit(self, conn: Any, autocommit: bool) -> None:
            pass

    serve_unknown(monkeypatch, path, Hook)
    with pytest.raises(UnsupportedWarehouseError, match="autocommit stays on"):
        unknown_table()


def test_a_name_that_the_database_does_not_tell_apart_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_unknown(monkeypatch, path)
    run(path, f"CREATE TABLE trends ({COLUMNS.replace('TEXT,', 'TEXT COLLATE NOCASE,', 1)})")
    run(path, "INSERT INTO trends VALUES ('VIP', '2026-11-10', 1, 'j0', '2026-11-11')")
    with pytest.raises(UnsuitableTableError, match="(?s)Table 'trends' has rows of audience 'VIP'.*binary collation"):
        unknown_table().load(batch({"vip": [2, 3]}))
    assert run(path, "SELECT audience, contacts FROM trends") == [("VIP", 1)]


class _Broken:
    """A connection, or its cursor, that can neither roll back nor close."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def cursor(self) -> Any:
        return _Broken(self._connection.cursor())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def rollback(self) -> None:
        self._connection.rollback()
        msg = "the rollback failed"
        raise NotImplementedError(msg)

    def close(self) -> None:
        self._connection.close()
        msg = "the close failed"
        raise RuntimeError(msg)


def test_a_failed_rollback_does_not_hide_its_cause(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hook(UnknownHook):
        def get_conn(self) -> Any:
            connection = super().get_conn()
            self.set_autocommit(connection, False)
            return _Broken(connection)

    serve_unknown(monkeypatch, path, Hook)
    run(path, f"CREATE TABLE trends ({COLUMNS}, CHECK (contacts < 10))")
    table = unknown_table()
    table.load(batch({"a": [1, 2]}))
    with pytest.raises(TableError, match="CHECK constraint failed"):
        table.load(batch({"a": [3, 10]}))
    assert run(path, "SELECT contacts FROM trends") == [(1,), (2,)]


def test_a_trigger_that_drops_rows_is_noticed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_unknown(monkeypatch, path)
    run(path, f"CREATE TABLE trends ({COLUMNS})")
    run(
        path,
        "CREATE TRIGGER drops AFTER INSERT ON trends WHEN NEW.contacts > 9 "
        "BEGIN DELETE FROM trends WHERE contacts > 9; END",
    )
    with pytest.raises(TableError, match="would have 1 of 2 rows"):
        unknown_table().load(batch({"a": [3, 10]}))
    assert run(path, "SELECT * FROM trends") == []


@pytest.fixture
def sqlite(tmp_path: Path, set_connection: SetConnection) -> str:
    path = str(tmp_path / "warehouse")
    set_connection("warehouse", conn_type="sqlite", host=path)
    return path


@pytest.mark.parametrize("known", [1, 2])
def test_a_table_that_ignores_case_keeps_a_namesake(sqlite: str, known: int) -> None:
    run(sqlite, f"CREATE TABLE trends ({COLUMNS.replace('TEXT,', 'TEXT COLLATE NOCASE,', 1)})")
    names = ["VIP", "vip"][:known]
    for name in names:
        run(sqlite, f"INSERT INTO trends VALUES ('{name}', '2026-11-10', 1, 'j0', '2026-11-11')")
    with pytest.raises(UnsuitableTableError, match="Table 'trends' has rows of audience 'VIP'"):
        build_table("warehouse", "trends", Columns()).load(batch({"vip": [2, 3]}))
    assert run(sqlite, "SELECT audience, contacts FROM trends") == [(name, 1) for name in names]


def test_a_scope_without_a_column_is_an_error(sqlite: str) -> None:
    # SQLite takes an unknown name in double quotes for a text.
    run(sqlite, f"CREATE TABLE trends ({COLUMNS})")
    run(sqlite, "INSERT INTO trends VALUES ('a', '2026-11-10', 1, 'j0', '2026-11-11')")
    with pytest.raises(TableError, match="account"):
        build_table("warehouse", "trends", Columns(scope={"account": "account"})).load(batch({"a": [2, 3]}))
    assert run(sqlite, "SELECT contacts FROM trends") == [(1,)]


def test_a_missing_connection_is_an_error_that_creates_it() -> None:
    with pytest.raises(MissingConnectionError, match="Airflow connection 'nowhere' does not exist") as missing:
        build_table("nowhere", "trends", Columns())
    assert "airflow connections add nowhere --conn-type" in missing.value.message
    assert isinstance(missing.value, AirflowFailException)


@pytest.mark.parametrize(
    ("conn_type", "package"),
    [("exasol", "apache-airflow-providers-exasol"), ("mssql", "apache-airflow-providers-microsoft-mssql")],
)
def test_a_provider_that_is_not_installed_is_named(set_connection: SetConnection, conn_type: str, package: str) -> None:
    set_connection("warehouse", conn_type=conn_type, host="127.0.0.1")
    with pytest.raises(UnsupportedWarehouseError, match="whose provider cannot be imported") as missing:
        build_table("warehouse", "trends", Columns())
    assert f"pip install {package}" in missing.value.message
