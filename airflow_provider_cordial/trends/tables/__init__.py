"""The long table of audience trends, as each database is filled fastest: one module a database that needs its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cordial.trends.tables.base import Columns, TrendsTable
from airflow_provider_cordial.trends.tables.duckdb import DuckDbTable
from airflow_provider_cordial.trends.tables.postgres import PostgresTable
from airflow_provider_cordial.trends.tables.sqlite import SqliteTable

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

__all__ = ["Columns", "TrendsTable", "build_table"]

#: By the type of the Airflow connection; all others are served by ``TrendsTable``.
_TABLES: dict[str, type[TrendsTable]] = {"duckdb": DuckDbTable, "postgres": PostgresTable, "sqlite": SqliteTable}


def build_table(hook: DbApiHook, name: str, columns: Columns) -> TrendsTable:
    """Return the table as the database of a hook writes it.

    :param name: ``table`` or ``schema.table``.
    :raises InvalidExportError: the table or a column is no identifier.
    """
    table_class = _TABLES.get(hook.conn_type, TrendsTable)
    return table_class(name=name, columns=columns, quote=hook.escape_word_format.format, placeholder=hook.placeholder)
