"""Airflow assets: which asset a delivery and a loaded table are, and what their events carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.timeframe import parse_dated_key

if TYPE_CHECKING:
    from airflow_provider_cordial.destinations import Destination


def table_asset(conn_id: str, table: str) -> Asset:
    """Return the asset of a table that exports are loaded into: schedule a DAG on it to run after each load.

    :param conn_id: the Airflow connection that the table is loaded through.
    :param table: the table as the load names it.
    """
    return Asset(table_uri(conn_id, table))


def table_uri(conn_id: str, table: str) -> str:
    """Return the URI of a table's asset."""
    # Airflow leaves a scheme that begins with x- alone; for any other it first imports all providers.
    return f"x-airflow-sql://{conn_id}/{table}"


def delivery_asset(destination: Destination) -> Asset:
    """Return the asset of the place that Cordial delivers files to.

    :param destination: a destination without templates.
    :raises InvalidExportError: Airflow cannot read files there, as on Cordial's Jobs page.
    """
    if destination.asset_uri is None:
        msg = (
            f"Destination {destination.type!r} has no asset: Airflow cannot read files delivered there. "
            "Export to another destination, SFTP for instance."
        )
        raise InvalidExportError(msg)
    return Asset(destination.asset_uri)


def exports_to_load(inlet_events: Any, delivered: Any, loaded: Any, *, days: int = 30) -> list[dict[str, Any]]:
    """Return the delivered exports that were not loaded yet, the oldest first.

    A DAG that is scheduled on an asset does not receive every event: of two within a fraction of a second, Airflow can
    drop one. All events are recorded, so the next run finds what an earlier one did not receive. Loading an export
    twice results in the same rows.

    :param inlet_events: ``inlet_events`` of a task that has both assets among its ``inlets``.
    :param delivered: the asset of the deliveries.
    :param loaded: the asset of the table.
    :param days: how far to look back.
    """
    since = datetime.now(UTC) - timedelta(days=days)
    done = {event.extra.get("job_id") for event in _since(inlet_events[loaded], since)}
    exports: dict[str, dict[str, Any]] = {}
    for event in _since(inlet_events[delivered], since):
        job_id = event.extra.get("job_id")
        if job_id not in done and "export" in event.extra:
            exports[str(job_id)] = event.extra["export"]
    return list(exports.values())


def _since(events: Any, moment: datetime) -> Iterable[Any]:
    if hasattr(events, "after"):  # Airflow 3.1 and later
        events = events.after(moment.isoformat())
    return sorted((event for event in events if event.timestamp >= moment), key=lambda event: event.timestamp)


def publish_event(
    context: Mapping[str, Any],
    outlets: Iterable[Any],
    *,
    asset_uris: Iterable[str],
    days: Iterable[date],
    extra: Mapping[str, Any],
) -> None:
    """Add what a task produced to the asset events of its outlets; call it where the task ends.

    A run with a partition gives its event the run's own key. If the task produced other days, each day gets an event
    under its own key; the same holds for a DAG that finds its partitions at run time. An event with a key starts only
    DAGs with a ``PartitionedAssetTimetable``, and an event without a key only the others.

    :param asset_uris: of the assets to add to an ``AssetAlias`` among the outlets.
    :param days: the days that were produced; the event lists them under ``days``.
    :param extra: everything else that the event carries.
    """
    from airflow.sdk.definitions.asset import AssetRef

    events = context.get("outlet_events")
    # None where an operator is executed on its own, as in its author's tests.
    if events is None:
        return
    days = list(days)
    content = {"days": [day.isoformat() for day in days], **extra}
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            for uri in asset_uris:
                events[outlet].add(Asset(uri), extra=content)
        elif isinstance(outlet, Asset | AssetRef):
            event = events[outlet]
            event.extra = {**event.extra, **content}
            # Before Airflow 3.3 an event only has the run's own key.
            if hasattr(event, "add_partitions") and (keys := partition_keys(context, days)):
                event.add_partitions(keys)


def partition_keys(context: Mapping[str, Any], days: Iterable[date]) -> list[str]:
    """Return the partition keys of the days, where the run's own key does not already cover them."""
    run_key = context.get("partition_key")
    if run_key is None:
        at_run_time = getattr(context["dag"].timetable, "partitioned_at_runtime", False)
        return [day.isoformat() for day in days] if at_run_time else []
    if dated := parse_dated_key(run_key):
        # In the format of the run's own key, so that one format finds the days of all runs.
        keys = [f"{day}{dated[1]}" for day in days]
        return [] if keys == [run_key] else keys
    return []


def is_static(*values: object) -> bool:
    """Return whether all values are plain text without a template: known when the DAG is parsed."""
    return all(isinstance(value, str) and "{{" not in value and "{%" not in value for value in values)
