"""Assets: which one a table and a delivery are, and what the events of an export and a load tell."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias, PartitionedAtRuntime
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_cordial.assets import delivery_asset, table_asset, tell
from airflow_provider_cordial.destinations import (
    AzureBlobDestination,
    Destination,
    FtpDestination,
    GcsDestination,
    S3Destination,
    SftpDestination,
    UiDestination,
)
from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator

TABLE = table_asset("warehouse", "trends")
TWO_DAYS = Timeframe(date(2026, 11, 10), date(2026, 11, 11))
ONE_DAY = Timeframe(date(2026, 11, 10), date(2026, 11, 10))


def events_of(outlet: Any, timeframe: Timeframe = TWO_DAYS, **context: Any) -> Any:
    """What a task tells on its one outlet."""
    run = {"outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None), **context}
    tell(run, [outlet], asset_uri=TABLE.uri, audiences=("a", "b"), timeframe=timeframe, extra={"rows": 4})
    return run["outlet_events"][outlet]


TOLD = {"days": ["2026-11-10", "2026-11-11"], "audiences": ["a", "b"], "rows": 4}


@pytest.mark.parametrize(
    ("destination", "uri"),
    [
        (S3Destination(bucket="acme", path="/trends/"), "s3://acme/trends"),
        (GcsDestination(bucket="acme", path="trends/x"), "gs://acme/trends/x"),
        (AzureBlobDestination(account="acme", container="c", path="trends"), "wasbs://c@acme/trends"),
        (SftpDestination(conn_id="sftp_default", path="exports"), "x-airflow-sftp://sftp_default/exports"),
        (FtpDestination(conn_id="ftp_default", path="/exports"), "x-airflow-ftp://ftp_default//exports"),
    ],
)
def test_the_asset_of_a_delivery_needs_no_connection(destination: Destination, uri: str) -> None:
    assert delivery_asset(destination) == Asset(uri)
    assert delivery_asset(destination).uri == uri


def test_the_jobs_page_is_no_asset() -> None:
    with pytest.raises(InvalidExportError, match="UiDestination.* is no asset"):
        delivery_asset(UiDestination())


def test_an_event_tells_days_audiences_and_more_and_keeps_what_was_told() -> None:
    event = events_of(TABLE)
    assert event.extra == TOLD
    assert event.partition_keys == set()
    run: dict[str, Any] = {"outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None)}
    run["outlet_events"][TABLE].extra = {"team": "crm"}
    tell(run, [TABLE, "no asset"], asset_uri=None, audiences=["a", "b"], timeframe=TWO_DAYS, extra={"rows": 4})
    assert run["outlet_events"][TABLE].extra == {"team": "crm", **TOLD}
    assert len(run["outlet_events"]) == 1


def test_an_alias_gets_the_asset() -> None:
    (added,) = events_of(AssetAlias("trends")).asset_alias_events
    assert (added.dest_asset_key.uri, added.extra) == (TABLE.uri, TOLD)


@pytest.mark.parametrize(
    ("key", "timeframe", "expected"),
    [
        # The event has the run's own key, and its date.
        ("2026-11-10", ONE_DAY, set()),
        ("2026-11-10T00:00:00", ONE_DAY, set()),
        # Another day, or more of them, each in the form of the run's key.
        ("2026-11-12", ONE_DAY, {"2026-11-10"}),
        ("2026-11-10", TWO_DAYS, {"2026-11-10", "2026-11-11"}),
        ("2026-11-10T00:00:00", TWO_DAYS, {"2026-11-10T00:00:00", "2026-11-11T00:00:00"}),
        # The partitions are no days.
        ("eu", TWO_DAYS, set()),
    ],
)
def test_a_partitioned_producer_has_an_event_for_each_day(key: str, timeframe: Timeframe, expected: set[str]) -> None:
    assert events_of(TABLE, timeframe, partition_key=key).partition_keys == expected


def test_a_producer_of_partitions_at_run_time_finds_the_days() -> None:
    dag = SimpleNamespace(timetable=PartitionedAtRuntime())
    assert events_of(TABLE, dag=dag, partition_key=None).partition_keys == {"2026-11-10", "2026-11-11"}


@pytest.mark.parametrize(
    ("options", "outlets"),
    [
        ({"conn_id": "warehouse", "table": "trends"}, [TABLE]),
        ({"conn_id": "warehouse", "table": "{{ params.table }}"}, []),
        ({"conn_id": "{{ params.conn_id }}", "table": "trends"}, []),
        ({"conn_id": "warehouse", "table": "trends", "outlets": []}, []),
        ({"conn_id": "warehouse", "table": "trends", "outlets": [AssetAlias("x")]}, [AssetAlias("x")]),
    ],
)
def test_a_loads_outlet_is_its_table_where_the_author_says_nothing_else(
    options: dict[str, Any], outlets: list[Any]
) -> None:
    assert AudienceTrendsToSqlOperator(task_id="load", export={}, **options).outlets == outlets
