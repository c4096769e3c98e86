"""Errors of database drivers as errors of this provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_cordial._compat import AirflowException, BaseHook
from airflow_provider_cordial.client.secrets import strike_out
from airflow_provider_cordial.exceptions import TableError, TransientTableError, UnsupportedWarehouseError
from airflow_provider_cordial.trends.corrections import corrections_table

_LONGEST = 500

#: The packages with the hooks of some types of connections; the others are named after their type.
_PACKAGES = {
    "databricks": "apache-airflow-providers-databricks databricks-sql-connector",
    "duckdb": "airflow-provider-duckdb",
    "gcpbigquery": "apache-airflow-providers-google",
    "google_cloud_platform": "apache-airflow-providers-google",
    "mssql": "apache-airflow-providers-microsoft-mssql",
    "redshift": "apache-airflow-providers-amazon",
}

ADVICE = "Correct the table or the load's columns; create_table=True creates a missing table."


def is_driver_error(error: BaseException) -> bool:
    """Return whether an error is one of a database driver, all of which derive from its class ``Error`` (PEP 249)."""
    return any(base.__name__ == "Error" for base in type(error).__mro__)


def error_code(error: BaseException) -> str:
    """Return what a driver identifies an error by: a number, an SQLSTATE, a name, or else the class of the error."""
    first = error.args[0] if error.args else None
    if isinstance(first, Mapping) and "C" in first:
        return str(first["C"])
    codes = (getattr(error, name, None) for name in ("errno", "sqlstate", "pgcode", "sqlite_errorname"))
    found = next((code for code in codes if code), None) or (first if isinstance(first, int) else None)
    return str(found or type(error).__name__)


def error_text(error: BaseException) -> str:
    """Return what a driver reports; some pass on the fields of an error as PostgreSQL's protocol names them."""
    first = error.args[0] if error.args else None
    if isinstance(first, Mapping) and "M" in first:
        return ": ".join(str(first[name]) for name in ("M", "D") if first.get(name))
    return str(error)


def table_error(
    table: str,
    conn_id: str,
    error: BaseException,
    *,
    is_transient: bool,
    text: str | None = None,
    advice: str = ADVICE,
) -> TableError:
    """Return the error of a driver with the table, and what to do.

    :param text: what the driver reports, by default the error as a text.
    :param advice: what to do if a retry does not help.
    """
    # Struck out before the text is cut: half a secret would not be recognized.
    text = " ".join(strike_out(error_text(error) if text is None else text, _secrets(conn_id)).split())[:_LONGEST]
    what = f"Table {table!r} of connection {conn_id!r} cannot be loaded: {type(error).__name__}: {text.rstrip('.')}."
    if is_transient:
        return TransientTableError(f"{what} Retry the task: loading again ends with the same rows.", table=table)
    return TableError(f"{what} The rows of the table are as before. {advice}", table=table)


def corrections_error(
    table: str, conn_id: str, error: BaseException, statement: str, *, text: str | None = None
) -> TableError:
    """Return the error for a corrections table that is missing, or does not fit.

    :param table: the table that the load writes into.
    :param statement: that creates the corrections table.
    """
    advice = f"corrections=True needs this table. create_table=True creates it; or run: {statement}"
    return table_error(corrections_table(table), conn_id, error, is_transient=False, text=text, advice=advice)


def get_hook(conn_id: str, hook_params: dict[str, Any]) -> Any:
    """Return the hook of a connection.

    :raises UnsupportedWarehouseError: no installed provider knows the connection's type.
    """
    try:
        return BaseHook.get_hook(conn_id, hook_params=hook_params)
    except AirflowException as error:
        if "hook type" not in str(error):
            raise
        raise provider_missing(conn_id, str(BaseHook.get_connection(conn_id).conn_type), error) from error


def provider_missing(conn_id: str, conn_type: str, error: Exception) -> UnsupportedWarehouseError:
    """Return the error for a connection whose provider is not installed."""
    package = _PACKAGES.get(conn_type, f"apache-airflow-providers-{conn_type.replace('_', '-')}")
    return UnsupportedWarehouseError(
        f"Connection {conn_id!r} has the type {conn_type!r}, whose provider cannot be imported. Install it where tasks "
        f"run: pip install {package} ({type(error).__name__}: {error})."
    )


def unsupported(conn_id: str, database: str, reason: str) -> UnsupportedWarehouseError:
    """Return the error for a database that cannot replace rows completely or not at all."""
    return UnsupportedWarehouseError(
        f"Connection {conn_id!r} ({database}) is not supported: {reason}, so a load that fails halfway would lose "
        "rows. Write files with AudienceTrendsToFileOperator and load those, or register a table class with "
        "trends.register_table."
    )


def _secrets(conn_id: str) -> list[str]:
    connection = BaseHook.get_connection(conn_id)
    extra = connection.extra_dejson.values()
    return [text for text in (connection.password, *extra) if isinstance(text, str)]
