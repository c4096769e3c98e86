"""Tables of audience trends, one module per warehouse, by the type of the Airflow connection."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from airflow_provider_cordial.client.airflow_connections import read_airflow_connection
from airflow_provider_cordial.trends.columns import Columns
from airflow_provider_cordial.trends.tables.base import TrendsTable
from airflow_provider_cordial.trends.tables.errors import provider_missing, unsupported
from airflow_provider_cordial.trends.tables.staging import Staging

__all__ = ["Staging", "TrendsTable", "build_table", "register_table"]

_PACKAGE = "airflow_provider_cordial.trends.tables"

#: ``module:class`` by connection type; imported when a table is built. All others use ``_GENERIC``.
_TABLES: dict[str, str | type[TrendsTable]] = {
    "databricks": f"{_PACKAGE}.databricks:DatabricksTable",
    "duckdb": f"{_PACKAGE}.duckdb:DuckDbTable",
    "gcpbigquery": f"{_PACKAGE}.bigquery:BigQueryTable",
    "google_cloud_platform": f"{_PACKAGE}.bigquery:BigQueryTable",
    "mysql": f"{_PACKAGE}.mysql:MySqlTable",
    "postgres": f"{_PACKAGE}.postgres:PostgresTable",
    "redshift": f"{_PACKAGE}.redshift:RedshiftTable",
    "snowflake": f"{_PACKAGE}.snowflake:SnowflakeTable",
    "sqlite": f"{_PACKAGE}.sqlite:SqliteTable",
}
_GENERIC = f"{_PACKAGE}.generic:DbApiTable"


_COMMITS = "it commits each statement immediately"
_NO_TRANSACTIONS = "it has no transactions"

#: Why a type of connection is not served, whatever its hook says of autocommit.
_UNSUPPORTED = {
    "athena": _COMMITS,
    "clickhouse": _NO_TRANSACTIONS,
    "drill": _NO_TRANSACTIONS,
    "druid": _NO_TRANSACTIONS,
    "hive_cli": _NO_TRANSACTIONS,
    "hiveserver2": _NO_TRANSACTIONS,
    "impala": _NO_TRANSACTIONS,
    "kylin": _NO_TRANSACTIONS,
    "pinot": _NO_TRANSACTIONS,
    "presto": _COMMITS,
    "trino": _COMMITS,
    "ydb": _COMMITS,
}


def register_table(conn_type: str, table: str | type[TrendsTable]) -> None:
    """Load through a table class of your own for connections of a type.

    :param conn_type: the type of the Airflow connection.
    :param table: the class, or its import path ``module:class``.
    """
    _TABLES[conn_type] = table


def build_table(
    conn_id: str, name: str, columns: Columns, *, create: bool = False, staging: Staging | None = None
) -> TrendsTable:
    """Return a table of the warehouse behind an Airflow connection.

    :param name: ``table``, ``schema.table``, or ``database.schema.table``.
    :param create: create the table on load if it does not exist.
    :param staging: where the load leaves its file for a warehouse that reads it from a storage.
    :raises InvalidConnectionError: the connection does not exist, or does not belong to a database.
    :raises UnsupportedWarehouseError: the database cannot replace rows completely or not at all.
    :raises InvalidExportError: the name is not an identifier.
    """
    conn_type = str(read_airflow_connection(conn_id).conn_type)
    try:
        return _build(conn_type, conn_id, name, columns, create=create, staging=staging)
    except ImportError as error:
        raise provider_missing(conn_id, conn_type, error) from error


def _build(conn_type: str, conn_id: str, name: str, columns: Columns, **options: Any) -> TrendsTable:
    if conn_type in _TABLES:
        return _resolve(_TABLES[conn_type])(conn_id, name, columns, **options)
    if reason := _UNSUPPORTED.get(conn_type):
        raise unsupported(conn_id, conn_type, reason)
    table = _resolve(_GENERIC)(conn_id, name, columns, **options)
    # Nothing else is known of the database: connecting proves that autocommit can be switched off.
    with table.connection():  # type: ignore[attr-defined]
        return table


def _resolve(table: str | type[TrendsTable]) -> type[TrendsTable]:
    if not isinstance(table, str):
        return table
    module, _, class_name = table.partition(":")
    found: type[TrendsTable] = getattr(import_module(module), class_name)
    return found
