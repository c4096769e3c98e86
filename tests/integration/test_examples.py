"""The example DAGs that the demo does not run, each run by Airflow against real servers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helpers.places import Places
from tests.integration.servers import BUCKET
from tests.integration.servers.bigquery import BigQuery
from tests.integration.servers.databricks import VOLUME, Databricks
from tests.integration.servers.postgres import Postgres
from tests.integration.servers.redshift import Redshift
from tests.integration.servers.snowflake import Snowflake

PROJECT = Path(__file__).resolve().parents[2]
AUDIENCES = ("opened_last_30_days", "purchased_last_30_days")


def airflow(places: Places, home: Path, **connections: dict[str, Any]) -> dict[str, str]:
    """Create the database of an Airflow, and return its environment."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")},
        **{
            f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields)
            for name, fields in {**places.connections(), **connections}.items()
        },
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "example_dags"),
        "AIRFLOW__CORDIAL__POLL_INTERVAL": "0.2",
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    return environment


def run(dag_id: str, date: str, environment: dict[str, str]) -> None:
    command = [sys.executable, str(PROJECT / "scripts" / "run_dag.py"), dag_id, date]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert "export success, wait success, load success" in done.stdout, done.stdout + done.stderr[-5000:]


def test_s3_to_postgres_and_google_storage_to_parquet(places: Places, postgres: Postgres, tmp_path: Path) -> None:
    from pyarrow import parquet

    places.sandbox.control.reset()
    database = postgres.with_database("examples")
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA marketing")
    environment = airflow(places, tmp_path, postgres_default=database.airflow_connection())

    run("example_s3_to_postgres", "2026-11-09T00:00:00-08:00", environment)
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT audience, day::text, contacts, account FROM marketing.audience_trends ORDER BY 1, 2"
        ).fetchall()
    assert rows == [(*one, "acme") for one in snapshots(places, "2026-11-02", "2026-11-08")]

    run("example_gcs_to_parquet", "2026-11-12T03:00:00-08:00", environment)
    blob = places.gcs.client().bucket("acme-cordial").blob("long/snapshot_date=2026-11-11/audience_trends.parquet")
    table = parquet.read_table(io.BytesIO(blob.download_as_bytes())).to_pylist()
    found = [(row["audience"], str(row["snapshot_date"]), row["contacts"]) for row in table]
    assert found == snapshots(places, "2026-11-11", "2026-11-11")


def test_google_storage_to_bigquery(places: Places, bigquery: BigQuery, tmp_path: Path) -> None:
    places.sandbox.control.reset()
    environment = airflow(places, tmp_path) | {"BIGQUERY_EMULATOR_HOST": bigquery.url}
    run("example_gcs_to_bigquery", "2026-11-12T03:00:00-08:00", environment)
    rows = bigquery.query("SELECT audience, CAST(snapshot_date AS STRING), contacts FROM audience_trends ORDER BY 1, 2")
    assert rows == snapshots(places, "2026-11-11", "2026-11-11")


def test_s3_to_redshift(places: Places, redshift: Redshift, tmp_path: Path) -> None:
    places.sandbox.control.reset()
    redshift.query("DROP SCHEMA IF EXISTS marketing CASCADE; CREATE SCHEMA marketing")
    environment = airflow(places, tmp_path, redshift_default=redshift.airflow_connection())
    run("example_s3_to_redshift", "2026-11-12T03:00:00-08:00", environment)
    rows = redshift.query(
        "SELECT audience, snapshot_date::text, contacts, account FROM marketing.audience_trends ORDER BY 1, 2"
    )
    assert rows == [(*one, "acme") for one in snapshots(places, "2026-11-11", "2026-11-11")]
    found = places.bucket.client().list_objects_v2(Bucket=places.bucket.name, Prefix="staging/")
    assert "Contents" not in found


def test_s3_to_snowflake(places: Places, snowflake: Snowflake, tmp_path: Path) -> None:
    places.sandbox.control.reset()
    snowflake.reset()
    environment = airflow(places, tmp_path, snowflake_default=snowflake.airflow_connection()) | snowflake.environment()
    run("example_s3_to_snowflake", "2026-11-12T03:00:00-08:00", environment)
    rows = snowflake.query("SELECT audience, snapshot_date, contacts FROM audience_trends ORDER BY 1, 2")
    assert rows == snapshots(places, "2026-11-11", "2026-11-11")


def test_azure_to_databricks(places: Places, databricks: Databricks, tmp_path: Path) -> None:
    account = places.azure_or_skip()
    places.sandbox.control.reset()
    databricks.query("DROP TABLE IF EXISTS audience_trends")
    text = (PROJECT / "example_dags" / "example_azure_to_databricks.py").read_text()
    # The servers have names of their own.
    for example, here in (
        ('"acmemarketing"', repr(account.name)),
        ('container="cordial"', f"container={BUCKET!r}"),
        ("main.marketing.audience_trends", "audience_trends"),
        ("/Volumes/main/marketing/staging", VOLUME),
    ):
        assert text.count(example) == 1, example
        text = text.replace(example, here)
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "example.py").write_text(text)
    environment = airflow(places, tmp_path / "airflow", databricks_default=databricks.airflow_connection())
    run(
        "example_azure_to_databricks",
        "2026-11-12T03:00:00-08:00",
        environment | {"AIRFLOW__CORE__DAGS_FOLDER": str(dags)},
    )
    rows = databricks.query(
        "SELECT audience, CAST(snapshot_date AS STRING), contacts, account FROM audience_trends ORDER BY 1, 2"
    )
    assert rows == [(*one, "acme") for one in snapshots(places, "2026-11-11", "2026-11-11")]
    assert databricks.staged() == []


def snapshots(places: Places, start: str, end: str) -> list[tuple[str, str, int]]:
    return [
        (audience, one["date"], one["contacts"])
        for audience in AUDIENCES
        for one in places.sandbox.control.snapshots(audience=audience, start=start, end=end)
    ]
