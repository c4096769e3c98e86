"""Errors of database drivers as errors of this provider."""

from __future__ import annotations

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.client.secrets import strike_out
from airflow_provider_cordial.exceptions import TableError, TransientTableError, UnsupportedWarehouseError

_LONGEST = 500

_ADVICE = "Correct the table or the load's columns; create_table=True creates a missing table."


def is_driver_error(error: BaseException) -> bool:
    """Return whether an error is one of a database driver, all of which derive from its class ``Error`` (PEP 249)."""
    return any(base.__name__ == "Error" for base in type(error).__mro__)


def error_code(error: BaseException) -> str:
    """Return what a driver identifies an error by: a number, an SQLSTATE, a name, or else the class of the error."""
    first = error.args[0] if error.args else None
    codes = (getattr(error, name, None) for name in ("errno", "sqlstate", "pgcode", "sqlite_errorname"))
    found = next((code for code in codes if code), None) or (first if isinstance(first, int) else None)
    return str(found or type(error).__name__)


def table_error(
    table: str, conn_id: str, error: BaseException, *, is_transient: bool, advice: str = _ADVICE
) -> TableError:
    """Return the error of a driver with the table, and what to do."""
    # Struck out before the text is cut: half a secret would not be recognized.
    text = " ".join(strike_out(str(error), _secrets(conn_id)).split())[:_LONGEST]
    what = f"Table {table!r} of connection {conn_id!r} cannot be loaded: {type(error).__name__}: {text.rstrip('.')}."
    if is_transient:
        return TransientTableError(f"{what} Retry the task: loading again ends with the same rows.", table=table)
    return TableError(f"{what} The rows of the table are as before. {advice}", table=table)


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
