"""Airflow's assets: which asset a delivery and a loaded table are, and what an event on one tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.timeframe import Timeframe, parse_dated_key

if TYPE_CHECKING:
    from airflow_provider_cordial.destinations import Destination


def table_asset(conn_id: str, table: str) -> Asset:
    """Return the asset of a table that Audience Trends are loaded into: schedule a DAG on it to run after a load.

    :param conn_id: the Airflow connection that the table is loaded through.
    :param table: as the load names it.
    """
    return Asset(table_uri(conn_id, table))


def table_uri(conn_id: str, table: str) -> str:
    # A scheme that begins with x- is left as it is; for others Airflow first imports all providers.
    return f"x-airflow-sql://{conn_id}/{table}"


def delivery_asset(destination: Destination) -> Asset:
    """Return the asset of the place that Cordial delivers files to.

    :param destination: one whose texts hold no template.
    :raises InvalidExportError: nobody but a person can read there: Cordial's Jobs page.
    """
    if destination.asset_uri is None:
        msg = f"destination {destination!r} is no asset: what is delivered there cannot be read. Use another one."
        raise InvalidExportError(msg)
    return Asset(destination.asset_uri)


def tell(
    context: Mapping[str, Any],
    outlets: Iterable[Any],
    *,
    asset_uri: str | None,
    audiences: Iterable[str],
    timeframe: Timeframe,
    extra: Mapping[str, Any],
) -> None:
    """Say on the events of a task's outlets what it brought; to be called where the task ends.

    A run that has a partition gives its event the run's own key. If it brought other days than that, there is an event
    for each of them, under the key of its day; so there is in a DAG that finds its partitions at run time. An event
    that has a key starts DAGs with a ``PartitionedAssetTimetable`` only, and one without starts only the others.

    :param asset_uri: what is added to an ``AssetAlias`` among the outlets.
    """
    from airflow.sdk.definitions.asset import AssetRef

    events = context.get("outlet_events")
    # There are none where an operator is run by itself, as in its author's tests.
    if events is None:
        return
    told = {"days": [day.isoformat() for day in timeframe], "audiences": list(audiences), **extra}
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            if asset_uri is not None:
                events[outlet].add(Asset(asset_uri), extra=told)
        elif isinstance(outlet, Asset | AssetRef):
            event = events[outlet]
            event.extra = {**event.extra, **told}
            # Before Airflow 3.3 an event has the run's own key only.
            if hasattr(event, "add_partitions") and (keys := partition_keys(context, timeframe)):
                event.add_partitions(keys)


def partition_keys(context: Mapping[str, Any], timeframe: Timeframe) -> list[str]:
    """Return the keys of the days' partitions, where they are not what the run's own key says already."""
    run_key = context.get("partition_key")
    if run_key is None:
        at_run_time = getattr(context["dag"].timetable, "partitioned_at_runtime", False)
        return [day.isoformat() for day in timeframe] if at_run_time else []
    if dated := parse_dated_key(run_key):
        # In the form that the run's own key has, so that days of all runs are found under alike keys.
        keys = [f"{day}{dated[1]}" for day in timeframe]
        return [] if keys == [run_key] else keys
    return []


def is_static(*values: object) -> bool:
    """Return whether all values are plain text without a template: known when the DAG is parsed."""
    return all(isinstance(value, str) and "{{" not in value and "{%" not in value for value in values)
