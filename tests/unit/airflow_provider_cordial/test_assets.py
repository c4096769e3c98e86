"""Assets: which asset a table and a delivery are, and what the events of an export and a load carry."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias, PartitionedAtRuntime
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_cordial.assets import delivery_asset, exports_to_load, publish_event, table_asset
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
EXTRA = {"audiences": ["a", "b"], "rows": 4}
TWO_DAYS = Timeframe(date(2026, 11, 10), date(2026, 11, 11))
ONE_DAY = Timeframe(date(2026, 11, 10), date(2026, 11, 10))


def publish(outlet: Any, timeframe: Timeframe = TWO_DAYS, **context: Any) -> Any:
    """Return the event that a task publishes on its only outlet."""
    run = {"outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None), **context}
    publish_event(run, [outlet], asset_uris=[TABLE.uri], days=timeframe, extra=EXTRA)
    return run["outlet_events"][outlet]


CONTENT = {"days": ["2026-11-10", "2026-11-11"], **EXTRA}


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
def test_a_delivery_asset_needs_no_connection(destination: Destination, uri: str) -> None:
    assert delivery_asset(destination) == Asset(uri)
    assert delivery_asset(destination).uri == uri


def test_the_jobs_page_has_no_asset() -> None:
    with pytest.raises(InvalidExportError, match="Destination 'aws' has no asset"):
        delivery_asset(UiDestination())


def test_an_event_lists_days_and_extra_and_keeps_earlier_extra() -> None:
    event = publish(TABLE)
    assert event.extra == CONTENT
    assert event.partition_keys == set()
    run: dict[str, Any] = {"outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None)}
    run["outlet_events"][TABLE].extra = {"team": "crm"}
    publish_event(run, [TABLE, "not an asset"], asset_uris=[], days=TWO_DAYS, extra=EXTRA)
    assert run["outlet_events"][TABLE].extra == {"team": "crm", **CONTENT}
    assert len(run["outlet_events"]) == 1


def test_an_alias_event_carries_the_asset() -> None:
    (added,) = publish(AssetAlias("trends")).asset_alias_events
    assert (added.dest_asset_key.uri, added.extra) == (TABLE.uri, CONTENT)


@pytest.mark.parametrize(
    ("key", "timeframe", "expected"),
    [
        # The run's own key already covers the day.
        ("2026-11-10", ONE_DAY, set()),
        ("2026-11-10T00:00:00", ONE_DAY, set()),
        # Another day, or more days, each in the format of the run's key.
        ("2026-11-12", ONE_DAY, {"2026-11-10"}),
        ("2026-11-10", TWO_DAYS, {"2026-11-10", "2026-11-11"}),
        ("2026-11-10T00:00:00", TWO_DAYS, {"2026-11-10T00:00:00", "2026-11-11T00:00:00"}),
        # The partitions are not days.
        ("eu", TWO_DAYS, set()),
    ],
)
def test_a_partitioned_producer_publishes_a_key_for_each_day(
    key: str, timeframe: Timeframe, expected: set[str]
) -> None:
    assert publish(TABLE, timeframe, partition_key=key).partition_keys == expected


def test_a_runtime_partitioned_producer_publishes_its_days() -> None:
    dag = SimpleNamespace(timetable=PartitionedAtRuntime())
    assert publish(TABLE, dag=dag, partition_key=None).partition_keys == {"2026-11-10", "2026-11-11"}


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
def test_a_load_has_its_table_as_the_default_outlet(options: dict[str, Any], outlets: list[Any]) -> None:
    assert AudienceTrendsToSqlOperator(task_id="load", export={}, **options).outlets == outlets


def event(minutes: float, job_id: str | None, **extra: Any) -> Any:
    timestamp = datetime.now(UTC) - timedelta(minutes=minutes)
    return SimpleNamespace(timestamp=timestamp, extra={"job_id": job_id, **extra})


def test_what_is_delivered_and_not_loaded_is_found_whatever_a_run_received() -> None:
    delivered, loaded = object(), object()
    events = {
        delivered: [
            event(5, "j3", export={"name": "c"}),
            event(9, "j1", export={"name": "a"}),
            event(7, "j2", export={"name": "b"}),
            event(6, "j2", export={"name": "b"}),
            event(4, None),
            event(40 * 24 * 60, "j0", export={"name": "old"}),
        ],
        loaded: [event(8, "j1", rows=2), event(1, None)],
    }
    assert exports_to_load(events, delivered, loaded) == [{"name": "b"}, {"name": "c"}]
    assert exports_to_load(events, delivered, loaded, days=60)[0] == {"name": "old"}
