"""Tables of audience trends, one module per warehouse, by the type of the Airflow connection."""

from __future__ import annotations

from importlib import import_module

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.trends.columns import Columns
from airflow_provider_cordial.trends.tables.base import TrendsTable

__all__ = ["TrendsTable", "build_table", "register_table"]

_PACKAGE = "airflow_provider_cordial.trends.tables"

#: ``module:class`` by connection type; imported when a table is built. All others use ``_GENERIC``.
_TABLES: dict[str, str | type[TrendsTable]] = {
    "duckdb": f"{_PACKAGE}.duckdb:DuckDbTable",
    "postgres": f"{_PACKAGE}.postgres:PostgresTable",
    "sqlite": f"{_PACKAGE}.sqlite:SqliteTable",
}
_GENERIC = f"{_PACKAGE}.generic:DbApiTable"


def register_table(conn_type: str, table: str | type[TrendsTable]) -> None:
    """Load through a table class of your own for connections of a type.

    :param conn_type: the type of the Airflow connection.
    :param table: the class, or its import path ``module:class``.
    """
    _TABLES[conn_type] = table


def build_table(conn_id: str, name: str, columns: Columns, *, create: bool = False) -> TrendsTable:
    """Return a table of the warehouse behind an Airflow connection.

    :param name: ``table`` or ``schema.table``.
    :param create: create the table on load if it does not exist.
    :raises InvalidConnectionError: the connection does not belong to a supported warehouse.
    :raises InvalidExportError: the name is not an identifier.
    """
    table = _TABLES.get(str(BaseHook.get_connection(conn_id).conn_type), _GENERIC)
    return _resolve(table)(conn_id, name, columns, create=create)


def _resolve(table: str | type[TrendsTable]) -> type[TrendsTable]:
    if not isinstance(table, str):
        return table
    module, _, class_name = table.partition(":")
    found: type[TrendsTable] = getattr(import_module(module), class_name)
    return found
