"""Task groups: the common case in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import task_group

from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.operators.audience_trends_coverage import (
    TIMEFRAME_KEY,
    AudienceTrendsPlanOperator,
    AudienceTrendsVerifyOperator,
)
from airflow_provider_cordial.operators.export import EXPORT_KEY
from airflow_provider_cordial.transfers.audience_trends_sync import AudienceTrendsSyncOperator
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator

if TYPE_CHECKING:
    from datetime import date

    from airflow.sdk import XComArg

    from airflow_provider_cordial.destinations import Destination
    from airflow_provider_cordial.exports.timeframe import Timeframe
    from airflow_provider_cordial.trends import Columns


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


@task_group
def keep_audience_trends(
    audiences: Sequence[str] | Mapping[str, date | str] | str | XComArg,
    destination: Destination | Mapping[str, Any] | str | XComArg,
    conn_id: str,
    table: str = "audience_trends",
    first_day: date | int | str = 31,
    last_day: date | str | None = None,
    lag: int = 1,
    look_back: int = 0,
    ask_blanks_again: int = 0,
    approve: bool = False,
    approve_above: int = 10,
    cordial_conn_id: str = "cordial_default",
    columns: Columns | None = None,
    create_table: bool = False,
    staging: str | None = None,
    staging_conn_id: str | None = None,
    plan_options: Mapping[str, Any] | None = None,
    sync_options: Mapping[str, Any] | None = None,
) -> None:
    """Keep a table whole: export and load what it lacks, and nothing else.

    ``plan`` asks the table which days it lacks, ``sync`` exports and loads each part of the plan in a mapped task, and
    ``verify`` asks the table again and fails with what is still missing. A run after a restore, a manual delete, or a
    day without Airflow fills exactly the days that are gone. The DAG needs no catch-up.

    For several accounts call it once for each, with ``.override(group_id=...)`` and a ``Columns(scope=...)``.

    :param audiences: their names; or the first day that each was tracked, by name: earlier days are not expected.
    :param destination: see ``AudienceTrendsExportOperator`` (templated).
    :param conn_id: the Airflow connection of the database (templated).
    :param table: see ``AudienceTrendsToSqlOperator`` (templated).
    :param first_day: the first day that the table should have, or how many days back from the last one (templated).
    :param last_day: the last day; by default the last one that is over in the account's time zone, less the lag
        (templated).
    :param lag: how many days after a day its snapshot is expected; 1 is the next day.
    :param look_back: how many of the last days to export again although they are loaded, for late corrections.
    :param ask_blanks_again: how many of the last days to export again where they are blank, for late snapshots.
    :param approve: let a person approve a large plan before it is exported; needs Airflow 3.1.
    :param approve_above: how many exports need no approval.
    :param cordial_conn_id: the Airflow connection to Cordial (templated).
    :param columns: see ``AudienceTrendsToSqlOperator``: the scope of several accounts in one table.
    :param create_table: create the table if it does not exist.
    :param staging: see ``AudienceTrendsToSqlOperator`` (templated).
    :param staging_conn_id: see ``AudienceTrendsToSqlOperator`` (templated).
    :param plan_options: more arguments for the ``AudienceTrendsPlanOperator``, ``max_days`` for instance.
    :param sync_options: more arguments for the ``AudienceTrendsSyncOperator``: a ``pool``, or
        ``max_active_tis_per_dag``.
    """
    of_table: dict[str, Any] = {
        "conn_id": conn_id,
        "table": table,
        "cordial_conn_id": cordial_conn_id,
        "columns": columns,
        "create_table": create_table,
        "staging": staging,
        "staging_conn_id": staging_conn_id,
    }
    plan = AudienceTrendsPlanOperator(
        **{
            "task_id": "plan",
            "audiences": audiences,
            "first_day": first_day,
            "last_day": last_day,
            "lag": lag,
            "look_back": look_back,
            "ask_blanks_again": ask_blanks_again,
            **of_table,
            **(plan_options or {}),
        }
    )
    sync = AudienceTrendsSyncOperator.partial(
        **{
            "task_id": "sync",
            "destination": destination,
            # The label of each mapped part in the UI.
            "map_index_template": "{{ task.timeframe.start }} to {{ task.timeframe.end }}",
            **of_table,
            **(sync_options or {}),
        }
    ).expand_kwargs(plan.output)
    if approve:
        from airflow_provider_cordial.operators.approve_plan import ApprovePlanOperator

        ApprovePlanOperator(task_id="approve", plan=plan.output, above=approve_above) >> sync
    sync >> AudienceTrendsVerifyOperator(
        task_id="verify",
        audiences=audiences,
        # Days that end meanwhile are the next run's.
        timeframe=plan.output[TIMEFRAME_KEY],  # type: ignore[index] # Airflow types it without its keys
        # Whatever has failed, this task names what is missing.
        trigger_rule="all_done",
        **of_table,
    )
