"""Where a table is, as other providers name it; checked by Airflow's own handlers of the schemes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from airflow.sdk import Asset

from airflow_provider_cordial.trends.tables.location import locate_table
from tests.helpers.sandbox import SetConnection

POSTGRES = {"conn_type": "postgres", "host": "db", "schema": "warehouse", "login": "u", "password": "secret-1234"}
SNOWFLAKE = {"conn_type": "snowflake", "schema": "marketing", "extra": {"account": "acme-eu", "database": "db1"}}
BIGQUERY = {"conn_type": "gcpbigquery", "extra": {"project": "my-project"}}
DATABRICKS = {"conn_type": "databricks", "host": "https://x.cloud.databricks.com", "extra": {"catalog": "main"}}
MODULES = {
    "bigquery": "google.assets.bigquery",
    "databricks": "databricks.assets.databricks",
    "mysql": "mysql.assets.mysql",
    "postgres": "postgres.assets.postgres",
    "redshift": "amazon.aws.assets.redshift",
    "snowflake": "snowflake.assets.snowflake",
}


@pytest.mark.parametrize(
    ("connection", "table", "uri"),
    [
        (POSTGRES, "trends", "postgres://db:5432/warehouse/public/trends"),
        ({**POSTGRES, "port": 6000}, "marketing.trends", "postgres://db:6000/warehouse/marketing/trends"),
        ({**POSTGRES, "conn_type": "mysql"}, "trends", "mysql://db:3306/warehouse/trends"),
        ({**POSTGRES, "conn_type": "mysql"}, "other.trends", "mysql://db:3306/other/trends"),
        ({**POSTGRES, "conn_type": "redshift"}, "trends", "redshift://db:5439/warehouse/public/trends"),
        (SNOWFLAKE, "trends", "snowflake://acme-eu/DB1/MARKETING/TRENDS"),
        (SNOWFLAKE, "db2.raw.trends", "snowflake://acme-eu/DB2/RAW/TRENDS"),
        (BIGQUERY, "marketing.trends", "bigquery://my-project/marketing/trends"),
        (BIGQUERY, "other-project.marketing.trends", "bigquery://other-project/marketing/trends"),
        (DATABRICKS, "trends", "databricks://x.cloud.databricks.com/main/default/trends"),
    ],
)
def test_a_table_has_the_uri_of_its_provider(
    set_connection: SetConnection, connection: dict[str, Any], table: str, uri: str
) -> None:
    set_connection("warehouse", **connection)
    location = locate_table("warehouse", table)
    assert location is not None
    assert location.uri == Asset(uri).uri == uri
    module = import_module(f"airflow.providers.{MODULES[location.scheme]}")
    dataset = module.convert_asset_to_openlineage(Asset(uri), None)
    assert (location.namespace, location.name) == (dataset.namespace, dataset.name)


@pytest.mark.parametrize(
    "connection",
    [
        {"conn_type": "sqlite", "host": "/tmp/x.db"},
        {"conn_type": "postgres", "host": "db"},
        {"conn_type": "snowflake"},
        {"conn_type": "databricks", "host": "h"},
    ],
)
def test_a_table_without_a_common_uri_has_none(set_connection: SetConnection, connection: dict[str, Any]) -> None:
    set_connection("warehouse", **connection)
    assert locate_table("warehouse", "trends") is None
