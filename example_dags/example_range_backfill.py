"""Backfill a table over a long range of days, entered in a form of the UI: a year in 12 exports instead of 365.

Each part of the range is exported, awaited, loaded, and retried on its own. Requires the connections
``cordial_default``, ``warehouse``, and that of the chosen destination.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_cordial.destinations import S3Destination, SftpDestination
from airflow_provider_cordial.exports import Timeframe
from airflow_provider_cordial.hooks import CordialHook
from airflow_provider_cordial.task_groups import audience_trends_to_sql

DESTINATIONS = {
    "sftp": SftpDestination(conn_id="sftp_default", path="exports").to_json(),
    "s3": S3Destination(conn_id="aws_default", bucket="acme-cordial", path="trends").to_json(),
}

# [START range_backfill]
with DAG(
    dag_id="example_range_backfill",
    schedule=None,
    params={
        "audiences": Param(
            ["opened_last_30_days", "purchased_last_30_days"],
            type="array",
            items={"type": "string", "pattern": "\\S"},
            minItems=1,
            description="Names of saved audiences, one per line, without blank lines.",
        ),
        "first_day": Param("2026-01-01", type="string", format="date"),
        "last_day": Param("2026-01-31", type="string", format="date", description="Included; the day must be over."),
        "days_per_export": Param(31, type="integer", minimum=1, maximum=366),
        "destination": Param("sftp", type="string", enum=list(DESTINATIONS)),
    },
    render_template_as_native_obj=True,
    user_defined_macros={"destinations": DESTINATIONS},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["cordial"],
):

    @task
    def ranges(params: Any = None) -> list[dict[str, str]]:
        """Split the whole range into parts; days that are reversed or not over yet fail before anything is exported."""
        whole = Timeframe(date.fromisoformat(params["first_day"]), date.fromisoformat(params["last_day"]))
        whole.require_over(CordialHook().connection.timezone)
        return [part.to_json() for part in whole.chunks(params["days_per_export"])]

    audience_trends_to_sql.partial(
        audiences="{{ params.audiences }}",
        destination="{{ destinations[params.destination] }}",
        conn_id="warehouse",
        table="trends_of_ranges",
        export_options={"max_active_tis_per_dag": 4},
        load_options={"create_table": True},
    ).expand(timeframe=ranges())
# [END range_backfill]
