"""Task groups: the common case in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import task_group

from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.operators.export import EXPORT_KEY
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator

if TYPE_CHECKING:
    from airflow.sdk import XComArg

    from airflow_provider_cordial.destinations import Destination
    from airflow_provider_cordial.exports.timeframe import Timeframe


@task_group
def audience_trends_to_sql(
    audiences: Sequence[str] | str | XComArg,
    destination: Destination | Mapping[str, Any] | str | XComArg,
    conn_id: str,
    table: str = "audience_trends",
    timeframe: Timeframe | Mapping[str, str] | str | XComArg | None = None,
    export_options: Mapping[str, Any] | None = None,
    load_options: Mapping[str, Any] | None = None,
) -> None:
    """Export Audience Trends, wait for the job in the triggerer, and load the file into a table.

    ``export`` submits and waits, ``load`` loads. Because one task submits and waits, a limit on that task
    (``max_active_tis_per_dag``, or a pool that counts deferred tasks) limits the jobs that run in Cordial, and its
    retry exports again after a Failed job.

    Over many ranges, each of which runs and is retried on its own:
    ``audience_trends_to_sql.partial(audiences=..., destination=..., conn_id=...).expand(timeframe=ranges)``, where
    ``ranges`` comes from ``Timeframe.chunks``, or from a task that returns ``to_json`` of each.
    ``.override(group_id=...)`` names the group.

    :param audiences: see ``AudienceTrendsExportOperator`` (templated).
    :param destination: see ``AudienceTrendsExportOperator`` (templated).
    :param conn_id: the Airflow connection of the database (templated).
    :param table: see ``AudienceTrendsToSqlOperator`` (templated).
    :param timeframe: the days; by default the run decides (templated).
    :param export_options: more arguments for the ``AudienceTrendsExportOperator``, a ``pool`` for instance.
    :param load_options: more arguments for the ``AudienceTrendsToSqlOperator``, ``create_table`` for instance.
    """
    export = AudienceTrendsExportOperator(
        **{
            "task_id": "export",
            "audiences": audiences,
            "destination": destination,
            "timeframe": timeframe,
            "wait_for_completion": True,
            "deferrable": True,
            # The label of each mapped part in the UI.
            "map_index_template": "{{ task.timeframe.start if task.timeframe else ti.map_index }}",
            **(export_options or {}),
        }
    )
    AudienceTrendsToSqlOperator(
        **{
            "task_id": "load",
            "export": export.output[EXPORT_KEY],  # type: ignore[index] # Airflow types it without its keys
            "conn_id": conn_id,
            "table": table,
            "map_index_template": "{{ task.export.selected_timeframe_start }}",
            **(load_options or {}),
        }
    )
