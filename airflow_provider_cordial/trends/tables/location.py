"""Where a table is, in the form that other providers and OpenLineage use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_cordial.client.airflow_connections import read_airflow_connection


@dataclass(frozen=True, slots=True)
class TableLocation:
    """A table in all parts.

    :param scheme: of the asset's URI.
    :param authority: the server, account, or project, without a login.
    :param path: database, schema, and table, as far as the warehouse has them.
    """

    scheme: str
    authority: str
    path: tuple[str, ...]

    @property
    def uri(self) -> str:
        """The URI of the asset."""
        return f"{self.scheme}://{self.authority}/{'/'.join(self.path)}"

    @property
    def namespace(self) -> str:
        """The namespace of the dataset in OpenLineage."""
        return self.scheme if self.scheme == "bigquery" else f"{self.scheme}://{self.authority}"

    @property
    def name(self) -> str:
        """The name of the dataset in OpenLineage."""
        parts = (self.authority, *self.path) if self.scheme == "bigquery" else self.path
        return ".".join(parts)


def locate_table(conn_id: str, table: str) -> TableLocation | None:
    """Return where a table is; None if the connection does not say, or has no form that others use."""
    connection = read_airflow_connection(conn_id)
    try:
        extra = connection.extra_dejson
    except Exception:  # noqa: BLE001 - the load has succeeded; the text may contain a secret
        return None
    build = _LOCATIONS.get(str(connection.conn_type))
    location = build(connection, extra, tuple(table.split("."))) if build else None
    return location if location and location.authority and all(location.path) else None


def _fill(parts: tuple[str, ...], *defaults: str | None) -> tuple[str, ...]:
    """Return a table's parts with defaults for the leading ones that it lacks."""
    missing = len(defaults) + 1 - len(parts)
    return (*(str(default or "") for default in defaults[:missing]), *parts) if missing >= 0 else ()


def _server(scheme: str, port: int, *schemas: str) -> Any:
    def build(connection: Any, _extra: Mapping[str, Any], parts: tuple[str, ...]) -> TableLocation:
        authority = f"{connection.host}:{connection.port or port}" if connection.host else ""
        return TableLocation(scheme, authority, _fill(parts, connection.schema, *schemas))

    return build


def _snowflake(connection: Any, extra: Mapping[str, Any], parts: tuple[str, ...]) -> TableLocation:
    # Names that are not quoted are in capitals there.
    path = tuple(part.upper() for part in _fill(parts, extra.get("database"), connection.schema))
    return TableLocation("snowflake", str(extra.get("account") or connection.host or ""), path)


def _bigquery(_connection: Any, extra: Mapping[str, Any], parts: tuple[str, ...]) -> TableLocation:
    project, *path = _fill(parts, extra.get("project"), extra.get("dataset_id")) or ("",)
    return TableLocation("bigquery", project, tuple(path))


def _databricks(connection: Any, extra: Mapping[str, Any], parts: tuple[str, ...]) -> TableLocation:
    host = urlsplit(str(connection.host)).hostname or str(connection.host or "")
    return TableLocation("databricks", host, _fill(parts, extra.get("catalog"), extra.get("schema") or "default"))


_LOCATIONS = {
    "databricks": _databricks,
    "gcpbigquery": _bigquery,
    "google_cloud_platform": _bigquery,
    "mysql": _server("mysql", 3306),
    "postgres": _server("postgres", 5432, "public"),
    "redshift": _server("redshift", 5439, "public"),
    "snowflake": _snowflake,
}
