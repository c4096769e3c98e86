"""Airflow connections of any type, read with an error that says how to make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cordial._compat import AirflowNotFoundException, BaseHook, mask_secret
from airflow_provider_cordial.exceptions import MissingConnectionError

if TYPE_CHECKING:
    from airflow.sdk import Connection

#: Of the command that makes a connection of most types.
OPTIONS = "--conn-host <host> --conn-login <user> --conn-password <password>"


def read_airflow_connection(conn_id: str, *, conn_type: str = "<type>") -> Connection:
    """Return an Airflow connection, its password masked in the logs.

    :param conn_type: the type that it should have, for the error.
    :raises MissingConnectionError: it does not exist, or Airflow cannot reach its database.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise missing_connection(conn_id, conn_type) from None
    if connection.password:
        mask_secret(connection.password)
    return connection


def missing_connection(conn_id: str, conn_type: str, options: str = OPTIONS) -> MissingConnectionError:
    """Return the error for a connection that does not exist.

    :param options: of the command that makes one.
    """
    return MissingConnectionError(
        f"Airflow connection {conn_id!r} does not exist. Create it: airflow connections add {conn_id} "
        f"--conn-type {conn_type} {options}"
    )
