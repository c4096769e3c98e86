"""Start a DAG for each export that becomes Done in Cordial, whoever submitted it, and pick up its file.

A person exports in Cordial's UI to the SFTP server behind ``sftp_default``, under a name that begins with ``weekly-``.
Airflow 3.3 remembers which exports it has processed. Requires the connections ``cordial_default`` and ``sftp_default``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_cordial.destinations import FileWait, SftpDestination, open_delivered_file
from airflow_provider_cordial.triggers import ExportJobTrigger

# [START export_done]
weekly_exports = Asset(
    "cordial_weekly_exports",
    watchers=[AssetWatcher(name="done", trigger=ExportJobTrigger(name_prefix="weekly-", poll_interval=30))],
)

with DAG(
    dag_id="example_export_done", schedule=[weekly_exports], catchup=False, doc_md=__doc__, tags=["cordial"]
) as dag:

    @task
    def pick_up(triggering_asset_events: Any = None) -> dict[str, int]:
        """Return the size of each export's file."""
        destination = SftpDestination(conn_id="sftp_default", path="exports")
        sizes = {}
        # A run may have several events, and an event several exports.
        for event in triggering_asset_events[weekly_exports]:
            since = datetime.fromisoformat(str(event.timestamp)) - timedelta(days=1)
            for job in event.extra["payload"]["jobs"]:
                name = job["name"]
                with open_delivered_file(destination, name, not_before=since, file_wait=FileWait()) as (file, stream):
                    stream.read()
                sizes[name] = file.size or 0
        return sizes

    pick_up()
# [END export_done]
