"""The exact days of runs: from a DAG's ``schedule=``, by Airflow's own timetables and context, to the timeframe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    BaseOperator,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    IdentityMapper,
    MultipleCronTriggerTimetable,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    StartOfDayMapper,
    StartOfMonthMapper,
    StartOfWeekMapper,
)
from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, DagRunType, TIRunContext
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DagRunInfo

from airflow_provider_cordial.exports.timeframe import ONE_DAY, resolve_timeframe

UTC, LA, TOKYO, BERLIN = "UTC", "America/Los_Angeles", "Asia/Tokyo", "Europe/Berlin"
TRENDS = Asset("trends")

MAPPERS: dict[str, Callable[[str], Any]] = {
    "identity": lambda zone: IdentityMapper(),
    "day": lambda zone: StartOfDayMapper(timezone=zone),
    "week": lambda zone: StartOfWeekMapper(timezone=zone),
    "month": lambda zone: StartOfMonthMapper(timezone=zone),
}

#: A schedule is written "kind: cron", in a time zone; without a kind the text itself is the schedule, in the time zone
#: of the start date.
KINDS: dict[str, Callable[[str, str], Any]] = {
    "": lambda cron, zone: cron,
    "timedelta of hours": lambda hours, zone: timedelta(hours=int(hours)),
    "CronTrigger, 1 day": lambda cron, zone: CronTriggerTimetable(cron, timezone=zone, interval=ONE_DAY),
    "MultipleCronTrigger": lambda crons, zone: MultipleCronTriggerTimetable(*crons.split(", "), timezone=zone),
    "AssetOrTime": lambda cron, zone: AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(cron, timezone=zone), assets=[TRENDS]
    ),
    "CronDataInterval": lambda cron, zone: CronDataIntervalTimetable(cron, zone),
    "DeltaDataInterval of hours": lambda hours, zone: DeltaDataIntervalTimetable(timedelta(hours=int(hours))),
    "CronPartition": lambda cron, zone: CronPartitionTimetable(cron, timezone=zone, run_offset=-1),
    "CronPartition %Y-%m-%d": lambda cron, zone: CronPartitionTimetable(
        cron, timezone=zone, run_offset=-1, key_format="%Y-%m-%d"
    ),
    "CronPartition %Y%m%d": lambda cron, zone: CronPartitionTimetable(
        cron, timezone=zone, run_offset=-1, key_format="%Y%m%d"
    ),
    "Asset": lambda _, zone: [TRENDS],
    "PartitionedAsset": lambda mapper, zone: PartitionedAssetTimetable(
        assets=TRENDS, partition_mapper_config={TRENDS: MAPPERS[mapper](zone)}
    ),
    "PartitionedAtRuntime": lambda _, zone: PartitionedAtRuntime(),
}


class Case(NamedTuple):
    """``runs``: the days of each run in order, all in 2026; "!" if it fires before they are over for the account."""

    schedule: str
    zone: str
    account: str
    start_date: str
    runs: str
    days: int = 1


def build_dag(schedule: str, zone: str, start_date: str) -> DAG:
    kind, _, cron = schedule.rpartition(": ")
    start = datetime.fromisoformat(f"2026-{start_date}").replace(tzinfo=ZoneInfo(zone))
    with DAG("trends", schedule=KINDS[kind](cron, zone), start_date=start, catchup=True) as dag:
        BaseOperator(task_id="export")
    return dag


def serialize(dag: DAG) -> SerializedDAG:
    """Return the DAG as the scheduler reads it from its database."""
    restored = DagSerialization.from_json(DagSerialization.to_json(dag))
    assert isinstance(restored, SerializedDAG)
    return restored


def scheduled_runs(dag: DAG, count: int) -> list[DagRunInfo]:
    restored, infos = serialize(dag), list[DagRunInfo]()
    while len(infos) < count:
        # The scheduler's own call of next_dagrun_info_v2, with the DAG's dates and its catchup.
        info = restored.next_dagrun_info(last_automated_run_info=infos[-1] if infos else None)
        assert info is not None
        infos.append(info)
    return infos


def build_run(info: DagRunInfo) -> dict[str, Any]:
    return {**info._asdict(), "logical_date": info.logical_date}


def manual_run(dag: DAG, logical_date: datetime | None, run_after: datetime, key: str | None = None) -> dict[str, Any]:
    """Return the run that the REST API and the UI create from a trigger."""
    body = TriggerDAGRunPostBody(logical_date=logical_date, run_after=run_after, partition_key=key)
    run: dict[str, Any] = body.validate_context(serialize(dag))
    return run


def resolve_days(dag: DAG, run: dict[str, Any], account: str, days: int = 1) -> str:
    """Return the days that a task of the run exports, in the notation of a case."""
    start, end = run.get("data_interval") or (None, None)
    dag_run = DagRun(
        dag_id=dag.dag_id,
        run_id="one",
        logical_date=run.get("logical_date"),
        data_interval_start=start,
        data_interval_end=end,
        run_after=run["run_after"],
        start_date=None,
        end_date=None,
        run_type=DagRunType.SCHEDULED,
        state=DagRunState.RUNNING,
        consumed_asset_events=[],
        partition_key=run.get("partition_key"),
        partition_date=run.get("partition_date"),
    )
    # The worker receives the run from the API server, as JSON.
    from_server = TIRunContext.model_validate_json(TIRunContext(dag_run=dag_run, max_tries=0).model_dump_json())
    task_instance: dict[str, Any] = {
        "id": UUID(int=1),
        "dag_id": dag.dag_id,
        "run_id": "one",
        "task_id": "export",
        "map_index": -1,
        "task": dag.get_task("export"),
        "_ti_context_from_server": from_server,
    }
    context: Any = RuntimeTaskInstance.model_construct(**task_instance).get_template_context()
    asked = resolve_timeframe(context, start=None, end=None, days=days, timezone=ZoneInfo(account))
    first, last = str(asked.start).removeprefix("2026-"), str(asked.end).removeprefix("2026-")
    over = datetime.combine(asked.end + ONE_DAY, time(), ZoneInfo(account))
    return (first if first == last else f"{first}..{last}") + ("!" if run["run_after"] < over else "")


# A trigger starts on its start date and exports the previous day; an interval starts on its first day.
DAILY = [
    Case("0 3 * * *", LA, LA, "11-11", "11-10 11-11 11-12"),
    Case("@daily", LA, LA, "11-11", "11-10 11-11 11-12"),
    Case("timedelta of hours: 24", LA, LA, "11-11", "11-10 11-11 11-12"),
    Case("CronTrigger, 1 day: 0 3 * * *", LA, LA, "11-11", "11-10 11-11 11-12"),
    Case("CronDataInterval: 0 0 * * *", LA, LA, "11-10", "11-10 11-11 11-12"),
    Case("DeltaDataInterval of hours: 24", LA, LA, "11-10", "11-10 11-11 11-12"),
    Case("CronPartition %Y-%m-%d: 0 0 * * *", LA, LA, "11-11", "11-10 11-11 11-12"),
    Case("CronPartition: 0 0 * * *", LA, LA, "11-11", "11-10 11-11 11-12"),
    Case("CronPartition: 0 3 * * *", LA, LA, "11-11", "11-10 11-11 11-12"),
    Case("CronPartition %Y%m%d: 0 0 * * *", LA, LA, "11-11", "11-10 11-11 11-12"),
    # Two runs per day export the same previous day; the second case is 3:00 on weekdays and 6:00 on weekends (14, 15).
    Case("MultipleCronTrigger: 0 3 * * *, 0 15 * * *", LA, LA, "11-11", "11-10 11-10 11-11 11-11 11-12"),
    Case("MultipleCronTrigger: 0 3 * * 1-5, 0 6 * * 6,0", LA, LA, "11-13", "11-12 11-13 11-14 11-15"),
    # Monday also exports one day only: a schedule on weekdays skips Friday and Saturday (13 and 14).
    Case("0 3 * * 1-5", LA, LA, "11-12", "11-11 11-12 11-15"),
    # In Los Angeles midnight in UTC is 16:00 of the previous day, 3:00 is 19:00, and 9:00 is 1:00.
    Case("0 3 * * *", UTC, LA, "11-12", "11-10 11-11 11-12"),
    Case("0 9 * * *", UTC, LA, "11-11", "11-10 11-11 11-12"),
    Case("@daily", UTC, LA, "11-12", "11-10 11-11 11-12"),
    Case("timedelta of hours: 24", UTC, LA, "11-12", "11-10 11-11 11-12"),
    Case("CronTrigger, 1 day: 0 3 * * *", UTC, LA, "11-12", "11-10 11-11 11-12"),
    Case("CronDataInterval: 0 0 * * *", UTC, LA, "11-11", "11-10 11-11 11-12"),
    Case("DeltaDataInterval of hours: 24", UTC, LA, "11-11", "11-10 11-11 11-12"),
    # The partition is the day it is named after, in UTC; when the run fires, that day has 8 hours left.
    Case("CronPartition %Y-%m-%d: 0 0 * * *", UTC, LA, "11-11", "11-10! 11-11! 11-12!"),
    Case("CronPartition: 0 0 * * *", UTC, LA, "11-11", "11-10! 11-11! 11-12!"),
    Case("CronPartition: 0 3 * * *", UTC, LA, "11-11", "11-10! 11-11! 11-12!"),
    Case("CronPartition: 0 9 * * *", UTC, LA, "11-11", "11-10 11-11 11-12"),
    # This key is not an ISO date, so the partition's date counts, in the time zone of the schedule.
    Case("CronPartition %Y%m%d: 0 0 * * *", UTC, LA, "11-11", "11-10! 11-11! 11-12!"),
    Case("MultipleCronTrigger: 0 3 * * *, 0 15 * * *", UTC, LA, "11-12", "11-10 11-11 11-11 11-12 11-12"),
    # In Tokyo midnight in UTC is 9:00, 3:00 is 12:00 and 15:00 is the next midnight.
    Case("0 3 * * *", UTC, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("0 15 * * *", UTC, TOKYO, "11-10", "11-10 11-11 11-12"),
    Case("@daily", UTC, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("timedelta of hours: 24", UTC, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("CronTrigger, 1 day: 0 3 * * *", UTC, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("CronDataInterval: 0 0 * * *", UTC, TOKYO, "11-10", "11-10 11-11 11-12"),
    Case("DeltaDataInterval of hours: 24", UTC, TOKYO, "11-10", "11-10 11-11 11-12"),
    Case("CronPartition %Y-%m-%d: 0 0 * * *", UTC, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("CronPartition: 0 0 * * *", UTC, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("MultipleCronTrigger: 0 3 * * *, 0 15 * * *", UTC, TOKYO, "11-11", "11-10 11-11 11-11 11-12 11-12"),
    # In Tokyo midnight in Los Angeles is 17:00, 3:00 is 20:00, 15:00 is 8:00 and 18:00 is 11:00 of the next day.
    Case("0 3 * * *", LA, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("@daily", LA, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("timedelta of hours: 24", LA, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("CronTrigger, 1 day: 0 3 * * *", LA, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("CronDataInterval: 0 0 * * *", LA, TOKYO, "11-10", "11-10 11-11 11-12"),
    Case("DeltaDataInterval of hours: 24", LA, TOKYO, "11-10", "11-10 11-11 11-12"),
    Case("CronPartition %Y-%m-%d: 0 0 * * *", LA, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("CronPartition: 0 0 * * *", LA, TOKYO, "11-11", "11-10 11-11 11-12"),
    # 2026-11-10T18:00:00 is the 11th in Tokyo; the day in the key decides.
    Case("CronPartition: 0 18 * * *", LA, TOKYO, "11-11", "11-10 11-11 11-12"),
    Case("MultipleCronTrigger: 0 3 * * *, 0 15 * * *", LA, TOKYO, "11-11", "11-10 11-11 11-11 11-12 11-12"),
]

# 2026-03-08: the clock jumps from 2:00 to 3:00.
SUMMER = [
    Case("0 3 * * *", LA, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    # 2:30 does not exist on the 8th; Airflow fires at 3:30.
    Case("30 2 * * *", LA, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    # Midnight of the 9th is 23 hours after the one before, which is a day by the clock of the schedule.
    Case("@daily", LA, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    Case("timedelta of hours: 24", LA, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    # From 23:30 to 0:30: no run is on the 8th, and the run on the 9th exports both days.
    Case("timedelta of hours: 24", LA, LA, "03-06T23:30", "03-05 03-06 03-07..03-08 03-09"),
    Case("CronTrigger, 1 day: 0 3 * * *", LA, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    # Airflow's interval of a day is 24 hours, so the one before midnight of the 9th starts at 23:00 on the 7th; the
    # intent is a day by the clock.
    Case("CronTrigger, 1 day: 0 0 * * *", LA, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    Case("CronDataInterval: 0 0 * * *", LA, LA, "03-06", "03-06 03-07 03-08 03-09 03-10"),
    Case("CronDataInterval: 30 2 * * *", LA, LA, "03-06", "03-06 03-07 03-08 03-09 03-10"),
    Case("DeltaDataInterval of hours: 24", LA, LA, "03-06", "03-06 03-07 03-08 03-09 03-10"),
    Case("CronPartition %Y-%m-%d: 0 0 * * *", LA, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    Case("CronPartition: 0 3 * * *", LA, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    Case("MultipleCronTrigger: 0 3 * * *, 0 15 * * *", LA, LA, "03-07", "03-06 03-06 03-07 03-07 03-08 03-08"),
    # 3:00 in UTC is 19:00 of the previous day and then 20:00, midnight is 16:00 and then 17:00.
    Case("0 3 * * *", UTC, LA, "03-07", "03-05 03-06 03-07 03-08 03-09"),
    Case("@daily", UTC, LA, "03-07", "03-05 03-06 03-07 03-08 03-09"),
    Case("timedelta of hours: 24", UTC, LA, "03-07", "03-05 03-06 03-07 03-08 03-09"),
    Case("CronTrigger, 1 day: 0 3 * * *", UTC, LA, "03-07", "03-05 03-06 03-07 03-08 03-09"),
    Case("CronDataInterval: 0 0 * * *", UTC, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    Case("DeltaDataInterval of hours: 24", UTC, LA, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    Case("CronPartition %Y-%m-%d: 0 0 * * *", UTC, LA, "03-07", "03-06! 03-07! 03-08! 03-09! 03-10!"),
    Case("CronPartition: 0 0 * * *", UTC, LA, "03-07", "03-06! 03-07! 03-08! 03-09! 03-10!"),
    Case("MultipleCronTrigger: 0 3 * * *, 0 15 * * *", UTC, LA, "03-07", "03-05 03-06 03-06 03-07 03-07 03-08"),
    # 7:30 in UTC is 23:30 and then 0:30: no run is on the 8th, and the run on the 9th exports both days.
    Case("30 7 * * *", UTC, LA, "03-07", "03-05 03-06 03-07..03-08 03-09 03-10"),
    Case("CronTrigger, 1 day: 30 7 * * *", UTC, LA, "03-07", "03-05 03-06 03-07..03-08 03-09 03-10"),
    Case("CronDataInterval: 30 7 * * *", UTC, LA, "03-06", "03-05 03-06 03-07..03-08 03-09 03-10"),
    Case("@daily", LA, TOKYO, "03-06", "03-05 03-06 03-07 03-08 03-09"),
    Case("CronDataInterval: 0 0 * * *", LA, TOKYO, "03-06", "03-06 03-07 03-08 03-09 03-10"),
    # 7:30 in Los Angeles is 0:30 of the next day in Tokyo and then 23:30: two runs are on the 8th there.
    Case("30 7 * * *", LA, TOKYO, "03-06", "03-06 03-07 03-07 03-08 03-09"),
]

# 2026-11-01: the clock goes back from 2:00 to 1:00.
WINTER = [
    Case("0 3 * * *", LA, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    # 1:30 occurs twice on the 1st; Airflow fires at the second.
    Case("30 1 * * *", LA, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    Case("@daily", LA, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    # From midnight to 23:00: two runs are on the 1st and export the previous day.
    Case("timedelta of hours: 24", LA, LA, "10-30", "10-29 10-30 10-31 10-31 11-01"),
    Case("CronTrigger, 1 day: 0 3 * * *", LA, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    Case("CronTrigger, 1 day: 0 0 * * *", LA, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    # No day ends in the 24 hours before 23:30 of the 1st: the previous day, as for the other runs.
    Case("CronTrigger, 1 day: 30 23 * * *", LA, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    Case("CronDataInterval: 0 0 * * *", LA, LA, "10-30", "10-30 10-31 11-01 11-02 11-03"),
    Case("CronDataInterval: 30 1 * * *", LA, LA, "10-30", "10-30 10-31 11-01 11-02 11-03"),
    # The third interval is from 0:00 to 23:00 of the 1st. No day ends in it: the previous day again.
    Case("DeltaDataInterval of hours: 24", LA, LA, "10-30", "10-30 10-31 10-31 11-01 11-02"),
    Case("CronPartition %Y-%m-%d: 0 0 * * *", LA, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    Case("CronPartition: 0 3 * * *", LA, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    Case("MultipleCronTrigger: 0 3 * * *, 0 15 * * *", LA, LA, "10-31", "10-30 10-30 10-31 10-31 11-01 11-01"),
    # 3:00 in UTC is 20:00 of the previous day and then 19:00, midnight is 17:00 and then 16:00.
    Case("0 3 * * *", UTC, LA, "10-31", "10-29 10-30 10-31 11-01 11-02"),
    Case("@daily", UTC, LA, "10-31", "10-29 10-30 10-31 11-01 11-02"),
    Case("timedelta of hours: 24", UTC, LA, "10-31", "10-29 10-30 10-31 11-01 11-02"),
    Case("CronTrigger, 1 day: 0 3 * * *", UTC, LA, "10-31", "10-29 10-30 10-31 11-01 11-02"),
    Case("CronDataInterval: 0 0 * * *", UTC, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    Case("DeltaDataInterval of hours: 24", UTC, LA, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    Case("CronPartition %Y-%m-%d: 0 0 * * *", UTC, LA, "10-31", "10-30! 10-31! 11-01! 11-02! 11-03!"),
    Case("CronPartition: 0 0 * * *", UTC, LA, "10-31", "10-30! 10-31! 11-01! 11-02! 11-03!"),
    Case("MultipleCronTrigger: 0 3 * * *, 0 15 * * *", UTC, LA, "10-31", "10-29 10-30 10-30 10-31 10-31 11-01"),
    # 7:30 in UTC is 0:30 and then 23:30: two runs are on the 1st, and no day ends in an interval between them.
    Case("30 7 * * *", UTC, LA, "10-31", "10-30 10-31 10-31 11-01 11-02"),
    Case("CronTrigger, 1 day: 30 7 * * *", UTC, LA, "10-31", "10-30 10-31 10-31 11-01 11-02"),
    Case("CronDataInterval: 30 7 * * *", UTC, LA, "10-30", "10-30 10-31 10-31 11-01 11-02"),
    Case("@daily", LA, TOKYO, "10-30", "10-29 10-30 10-31 11-01 11-02"),
    Case("CronDataInterval: 0 0 * * *", LA, TOKYO, "10-30", "10-30 10-31 11-01 11-02 11-03"),
    # 7:30 in Los Angeles is 23:30 in Tokyo and then 0:30: no run is on the 1st there, and two runs are 25 hours apart.
    Case("30 7 * * *", LA, TOKYO, "10-30", "10-29 10-30 10-31..11-01 11-02"),
    # 8:30 in Berlin, which changes a week earlier, is 23:30 of the previous day in Los Angeles and then 0:30.
    Case("30 8 * * *", BERLIN, LA, "10-23", "10-21 10-22 10-23..10-24 10-25"),
    Case("MultipleCronTrigger: 30 8 * * *", BERLIN, LA, "10-23", "10-21 10-22 10-23..10-24 10-25"),
    Case("AssetOrTime: 30 8 * * *", BERLIN, LA, "10-23", "10-21 10-22 10-23..10-24 10-25"),
    Case("CronDataInterval: 30 8 * * *", BERLIN, LA, "10-22", "10-21 10-22 10-23..10-24 10-25"),
    # Airflow's intervals of 24 hours skip the hour in which the 23rd ends; the intent is a day by the clock.
    Case("CronTrigger, 1 day: 30 8 * * *", BERLIN, LA, "10-23", "10-21 10-22 10-23..10-24 10-25"),
]

LONGER = [
    Case("0 6 * * *", LA, LA, "11-11", "11-04..11-10 11-05..11-11", days=7),
    Case("0 6 * * *", UTC, LA, "11-12", "11-04..11-10 11-05..11-11", days=7),
    Case("0 6 * * *", UTC, TOKYO, "11-11", "11-04..11-10 11-05..11-11", days=7),
    Case("@daily", LA, LA, "03-07", "02-28..03-06 03-01..03-07 03-02..03-08", days=7),
    Case("timedelta of hours: 168", LA, LA, "11-09", "11-02..11-08 11-09..11-15", days=7),
    # An interval or a partition decides the days.
    Case("CronTrigger, 1 day: 0 3 * * *", LA, LA, "11-11", "11-10 11-11", days=7),
    Case("CronDataInterval: 0 0 * * *", LA, LA, "11-10", "11-10 11-11", days=7),
    Case("CronPartition %Y-%m-%d: 0 0 * * *", LA, LA, "11-11", "11-10 11-11", days=7),
    # A weekly partition is named after its first day, and exports that day alone.
    Case("CronPartition %Y-%m-%d: 0 0 * * 1", LA, LA, "11-09", "11-02 11-09", days=7),
    Case("0 6 * * 1", LA, LA, "11-09", "11-02..11-08 11-09..11-15", days=7),
    Case("0 6 * * 1", UTC, TOKYO, "11-09", "11-02..11-08 11-09..11-15", days=7),
    # 6:00 on Monday in UTC is Sunday evening in Los Angeles, which is not over.
    Case("0 6 * * 1", UTC, LA, "11-09", "11-01..11-07 11-08..11-14", days=7),
    Case("0 6 * * 1", LA, LA, "03-02", "02-23..03-01 03-02..03-08 03-09..03-15", days=7),
    Case("0 6 * * 1", LA, LA, "10-26", "10-19..10-25 10-26..11-01 11-02..11-08", days=7),
    Case("0 6 * * 1", UTC, LA, "03-02", "02-22..02-28 03-01..03-07 03-08..03-14", days=7),
    Case("0 6 * * 1", UTC, LA, "10-26", "10-18..10-24 10-25..10-31 11-01..11-07", days=7),
    # 7:30 in UTC crosses midnight: 8 days in spring, one day twice in fall.
    Case("30 7 * * 1", UTC, LA, "03-02", "02-22..02-28 03-01..03-08 03-09..03-15", days=7),
    Case("30 7 * * 1", UTC, LA, "10-26", "10-19..10-25 10-25..10-31 11-01..11-07", days=7),
    Case("0 0 * * 1", LA, LA, "03-02", "02-23..03-01 03-02..03-08 03-09..03-15", days=7),
    Case("CronDataInterval: 0 0 * * 1", LA, LA, "11-02", "11-02..11-08 11-09..11-15"),
    Case("CronDataInterval: 0 0 * * 1", LA, LA, "03-02", "03-02..03-08 03-09..03-15"),
    Case("CronDataInterval: 0 0 * * 1", LA, LA, "10-26", "10-26..11-01 11-02..11-08"),
    Case("CronDataInterval: 0 0 * * 1", UTC, LA, "11-02", "11-01..11-07 11-08..11-14"),
    Case("CronDataInterval: 0 0 1 * *", LA, LA, "10-01", "10-01..10-31 11-01..11-30 12-01..12-31"),
    Case("CronDataInterval: 0 0 1 * *", LA, LA, "02-01", "02-01..02-28 03-01..03-31 04-01..04-30"),
    Case("CronDataInterval: 0 0 1 * *", UTC, LA, "10-01", "09-30..10-30 10-31..11-29 11-30..12-30"),
    Case("CronDataInterval: 0 0 1 * *", LA, TOKYO, "10-01", "10-01..10-31 11-01..11-30 12-01..12-31"),
]

HOURLY = [
    Case("0 * * * *", LA, LA, "11-11", "11-10 " * 24 + "11-11 " * 24 + "11-12"),
    Case("@hourly", UTC, LA, "11-11", "11-09 " * 8 + "11-10 " * 24 + "11-11"),
    Case("@hourly", UTC, TOKYO, "11-11", "11-10 " * 15 + "11-11 " * 24 + "11-12"),
    Case("timedelta of hours: 1", LA, LA, "11-11", "11-10 " * 24 + "11-11 " * 24 + "11-12"),
    # The interval that ends at midnight is the first in which the day ends.
    Case("CronDataInterval: @hourly", LA, LA, "11-11", "11-10 " * 23 + "11-11 " * 24 + "11-12"),
    Case("DeltaDataInterval of hours: 1", LA, LA, "11-11", "11-10 " * 23 + "11-11 " * 24 + "11-12"),
    # A day of 23 hours, and one of 25.
    Case("@hourly", LA, LA, "03-08", "03-07 " * 23 + "03-08 " * 24 + "03-09"),
    Case("@hourly", LA, LA, "11-01", "10-31 " * 25 + "11-01 " * 24 + "11-02"),
    Case("CronDataInterval: @hourly", LA, LA, "03-08", "03-07 " * 22 + "03-08 " * 24 + "03-09"),
    Case("CronDataInterval: @hourly", LA, LA, "11-01", "10-31 " * 24 + "11-01 " * 24 + "11-02"),
    # A partition is its own day, which is over only for its last hour.
    Case("CronPartition: @hourly", LA, LA, "11-11", "11-10 " + "11-11! " * 23 + "11-11"),
]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case.schedule} in {case.zone} for {case.account} from {case.start_date}, {case.days}")
        for case in DAILY + SUMMER + WINTER + LONGER + HOURLY
    ],
)
def test_scheduled_runs(case: Case) -> None:
    dag = build_dag(case.schedule, case.zone, case.start_date)
    expected = case.runs.split()
    runs = [build_run(info) for info in scheduled_runs(dag, len(expected))]
    assert [resolve_days(dag, run, case.account, case.days) for run in runs] == expected


@pytest.mark.parametrize("schedule", ["0 3 * * *", "@daily", "timedelta of hours: 24"])
def test_plain_schedules_with_data_intervals_enabled(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in Airflow 2.
    monkeypatch.setenv("AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS", "True")
    dag = build_dag(schedule, LA, "11-10")
    assert [resolve_days(dag, build_run(info), LA) for info in scheduled_runs(dag, 3)] == ["11-10", "11-11", "11-12"]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # The bounds are midnights in UTC, both included, of the logical date, which for a trigger is when it fires.
        ("0 3 * * *", "11-09 11-10"),
        ("CronDataInterval: 0 0 * * *", "11-10 11-11"),
        # For a partition the bounds are its own dates, in its own time zone, and run_after is the partition's date.
        ("CronPartition %Y-%m-%d: 0 0 * * *", "11-10! 11-11! 11-12!"),
        ("CronPartition: 0 0 * * *", "11-10! 11-11! 11-12!"),
    ],
)
def test_backfill_runs(schedule: str, expected: str) -> None:
    dag = build_dag(schedule, LA, "01-01")
    infos = serialize(dag).iter_dagrun_infos_between(
        datetime(2026, 11, 10, tzinfo=ZoneInfo(UTC)), datetime(2026, 11, 12, tzinfo=ZoneInfo(UTC))
    )
    assert " ".join(resolve_days(dag, build_run(info), LA) for info in infos) == expected


# 10:30 in Los Angeles, and 3:30 of the next day in Tokyo.
LOGICAL_DATE = datetime(2026, 11, 11, 18, 30, tzinfo=ZoneInfo(UTC))
RUN_AFTER = LOGICAL_DATE + timedelta(days=7)

#: With a logical date, the day before the logical date; without, the day before run_after.
MANUAL = {LA: ("11-10", "11-17"), TOKYO: ("11-11", "11-18")}
#: With a logical date, the last whole interval before it.
LAST_INTERVAL = {(UTC, LA): "11-09", (LA, LA): "11-10", (UTC, TOKYO): "11-10", (LA, TOKYO): "11-10"}


@pytest.mark.parametrize("account", [LA, TOKYO])
@pytest.mark.parametrize("zone", [UTC, LA])
@pytest.mark.parametrize(
    "schedule",
    [
        "0 3 * * *",
        "@daily",
        "timedelta of hours: 24",
        "CronTrigger, 1 day: 0 3 * * *",
        "CronDataInterval: 0 0 * * *",
        "DeltaDataInterval of hours: 24",
        "CronPartition %Y-%m-%d: 0 0 * * *",
        "CronPartition: 0 0 * * *",
        "MultipleCronTrigger: 0 3 * * *, 0 15 * * *",
        "Asset: ",
        "PartitionedAsset: identity",
        "PartitionedAsset: day",
    ],
)
def test_manual_runs(schedule: str, zone: str, account: str) -> None:
    dag = build_dag(schedule, zone, "11-01")
    with_logical_date, without = MANUAL[account]
    if schedule.startswith("CronDataInterval"):
        with_logical_date = LAST_INTERVAL[zone, account]
    assert resolve_days(dag, manual_run(dag, LOGICAL_DATE, RUN_AFTER), account) == with_logical_date
    assert resolve_days(dag, manual_run(dag, None, RUN_AFTER), account) == without


@pytest.mark.parametrize("account", [LA, TOKYO])
@pytest.mark.parametrize(
    "schedule", ["0 3 * * *", "@daily", "timedelta of hours: 24", "MultipleCronTrigger: 0 3 * * *", "Asset: "]
)
def test_a_logical_date_from_the_command_line_decides(schedule: str, account: str) -> None:
    dag = build_dag(schedule, LA, "11-01")
    # As airflow dags trigger --logical-date and the TriggerDagRunOperator create it.
    interval = serialize(dag).timetable.infer_manual_data_interval(run_after=pendulum.instance(RUN_AFTER))
    run = {"logical_date": LOGICAL_DATE, "run_after": RUN_AFTER, "data_interval": (interval.start, interval.end)}
    assert resolve_days(dag, run, account) == MANUAL[account][0]


@pytest.mark.parametrize("logical_date", [None, LOGICAL_DATE], ids=["without a logical date", "with one"])
@pytest.mark.parametrize("account", [LA, TOKYO])
@pytest.mark.parametrize("zone", [UTC, LA])
@pytest.mark.parametrize(
    ("schedule", "key"),
    [
        ("CronPartition %Y-%m-%d: 0 0 * * *", "2026-11-05"),
        ("CronPartition: 0 0 * * *", "2026-11-05T00:00:00"),
        ("PartitionedAsset: day", "2026-11-05"),
        # Airflow does not parse these keys: the runs have no partition_date.
        ("PartitionedAsset: identity", "2026-11-05"),
        ("PartitionedAtRuntime: ", "2026-11-05"),
    ],
)
def test_manual_runs_of_a_partition(
    schedule: str, key: str, zone: str, account: str, logical_date: datetime | None
) -> None:
    dag = build_dag(schedule, zone, "11-01")
    assert resolve_days(dag, manual_run(dag, logical_date, RUN_AFTER, key), account) == "11-05"


def test_a_manual_run_of_a_partition_without_a_day() -> None:
    dag = build_dag("PartitionedAtRuntime: ", LA, "11-01")
    assert resolve_days(dag, manual_run(dag, None, RUN_AFTER, "eu"), LA) == "11-17"


@pytest.mark.parametrize(
    ("producer", "zone", "start_date", "consumer", "consumer_zone", "account", "expected"),
    [
        ("0 3 * * *", LA, "11-11", "Asset: ", LA, LA, "11-10"),
        ("0 3 * * *", UTC, "11-12", "Asset: ", UTC, LA, "11-10"),
        ("0 3 * * *", UTC, "11-11", "Asset: ", UTC, TOKYO, "11-10"),
        ("0 3 * * *", LA, "11-11", "Asset: ", LA, TOKYO, "11-10"),
        ("CronDataInterval: 0 0 * * *", LA, "11-10", "Asset: ", LA, LA, "11-10"),
        ("CronPartition %Y-%m-%d: 0 0 * * *", LA, "11-11", "PartitionedAsset: identity", LA, LA, "11-10"),
        ("CronPartition: 0 0 * * *", LA, "11-11", "PartitionedAsset: identity", LA, LA, "11-10"),
        ("CronPartition %Y-%m-%d: 0 0 * * *", LA, "11-11", "PartitionedAsset: identity", LA, TOKYO, "11-10"),
        ("CronPartition %Y-%m-%d: 0 0 * * *", UTC, "11-11", "PartitionedAsset: identity", UTC, TOKYO, "11-10"),
        # As for the producer: the day that names the partition, in UTC, has 8 hours left.
        ("CronPartition %Y-%m-%d: 0 0 * * *", UTC, "11-11", "PartitionedAsset: identity", UTC, LA, "11-10!"),
        ("CronPartition: 0 0 * * *", LA, "11-11", "PartitionedAsset: day", LA, LA, "11-10"),
        ("CronPartition: 0 0 * * *", LA, "11-11", "PartitionedAsset: day", UTC, LA, "11-10"),
        ("CronPartition: 0 0 * * *", LA, "11-11", "PartitionedAsset: day", LA, TOKYO, "11-10"),
        ("CronPartition: 0 0 * * *", UTC, "11-11", "PartitionedAsset: day", UTC, TOKYO, "11-10"),
        ("CronPartition: 0 3 * * *", UTC, "11-11", "PartitionedAsset: day", UTC, LA, "11-10!"),
        # "2026-11-09 (W46)" and "2026-11" are named after their first day and export only that day. The key of a month
        # contains no day, so its date counts, which in UTC is still October in Los Angeles.
        ("CronPartition: 0 0 * * *", LA, "11-11", "PartitionedAsset: week", LA, LA, "11-09"),
        ("CronPartition: 0 0 * * *", LA, "11-11", "PartitionedAsset: month", LA, LA, "11-01"),
        ("CronPartition: 0 0 * * *", UTC, "11-11", "PartitionedAsset: month", UTC, LA, "10-31"),
    ],
)
def test_asset_triggered_runs(
    producer: str, zone: str, start_date: str, consumer: str, consumer_zone: str, account: str, expected: str
) -> None:
    (produced,) = scheduled_runs(build_dag(producer, zone, start_date), 1)
    dag = build_dag(consumer, consumer_zone, "11-01")
    restored = serialize(dag)
    assert restored.next_dagrun_info(last_automated_run_info=None) is None
    run: dict[str, Any] = {"run_after": produced.run_after + timedelta(minutes=5)}
    if restored.timetable.partitioned:
        # As the asset manager and the scheduler do, for a consumer of one asset.
        assert produced.partition_key is not None
        mapper = restored.timetable.get_partition_mapper(name=TRENDS.name, uri=TRENDS.uri)
        key = mapper.to_downstream(produced.partition_key)
        assert isinstance(key, str)
        day = mapper.to_partition_date(key) or mapper.carry_partition_date(produced.partition_date)
        run |= {"partition_key": key, "partition_date": day}
    assert resolve_days(dag, run, account) == expected
