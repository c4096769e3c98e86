"""The task group: its tasks, their options, and mapping over ranges."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_cordial.assets import table_asset
from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.task_groups import audience_trends_to_sql

COMMON: dict[str, Any] = {
    "audiences": ["a"],
    "destination": SftpDestination(conn_id="sftp_default", path="exports"),
    "conn_id": "warehouse",
}
RANGES = Timeframe(date(2026, 1, 1), date(2026, 2, 10)).chunks(31)


def test_the_group_exports_waits_and_loads() -> None:
    with DAG("trends", schedule=None) as dag:
        audience_trends_to_sql(
            **COMMON,
            export_options={"days": 7, "pool": "cordial", "max_active_tis_per_dag": 4},
            load_options={"create_table": True, "task_id": "fill"},
        )
    export: Any = dag.get_task("audience_trends_to_sql.export")
    load: Any = dag.get_task("audience_trends_to_sql.fill")
    assert load.upstream_task_ids == {"audience_trends_to_sql.export"}
    assert (export.wait_for_completion, export.deferrable, export.days) == (True, True, 7)
    assert (export.pool, export.max_active_tis_per_dag) == ("cordial", 4)
    assert load.create_table
    assert load.outlets == [table_asset("warehouse", "audience_trends")]


@pytest.mark.parametrize("ranges", [RANGES, [part.to_json() for part in RANGES]], ids=["values", "JSON"])
def test_the_group_expands_over_ranges_under_another_name(ranges: list[Any]) -> None:
    with DAG("trends", schedule=None) as dag:
        audience_trends_to_sql.override(group_id="year").partial(**COMMON, table="trends").expand(timeframe=ranges)
    restored: Any = DagSerialization.from_json(DagSerialization.to_json(dag))
    group = restored.task_group.children["year"]
    assert sorted(group.children) == ["year.export", "year.load"]
    (mapped,) = restored.get_task("year.export").iter_mapped_task_groups()
    assert mapped.get_parse_time_mapped_ti_count() == len(RANGES)
