"""Backfills on a whole cluster under faults: every day in the warehouse once, and as many jobs as were due.

Airflow with PostgreSQL, Redis, two Celery workers and a triggerer runs the example DAGs against the sandbox. Meanwhile
answers are lost, rejected, or late, workers die, and triggerers are replaced. ``make test-cluster`` runs it over a
month of runs and a year of ranges, and prints the figures.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_cordial.exports.timeframe import Timeframe
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import sftp_connection
from tests.integration.cluster import Cluster
from tests.integration.servers.postgres import Postgres
from tests.integration.servers.redis import Redis
from tests.integration.stage import AUDIENCES, SCALES, Scale, Stage, report

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
FIRST_DAY = date(2026, 1, 20)

#: The limit of the example: so many of its exports run in Cordial at a time.
EXPORTS_AT_A_TIME = 4


def days(count: int) -> Timeframe:
    return Timeframe(FIRST_DAY, FIRST_DAY + timedelta(days=count - 1))


def copy_examples(folder: Path, scale: Scale) -> None:
    """Copy the examples with short pauses, without the runs that their schedules would start."""
    folder.mkdir()
    for name in ("daily_backfill", "look_back", "range_backfill", "partitions", "export_only", "keep_whole"):
        text = (EXAMPLES / f"example_{name}.py").read_text()
        text = re.sub(r"(start_date=.*),\n", r"\1,\n    end_date=datetime(2026, 6, 1, tzinfo=ZoneInfo('UTC')),\n", text)
        text = text.replace('"retry_delay": timedelta(minutes=1)', '"retry_delay": timedelta(seconds=3)')
        # The sandbox lists a job at once, so a missing job need not be searched for two minutes.
        text = text.replace("max_active_tis_per_dag=4,", "max_active_tis_per_dag=4, settling_time=15,")
        # The table has blanks of all ages.
        text = text.replace("look_back=3,", f"look_back=3, ask_blanks_again={scale.kept},")
        text = text.replace("first_day=365,", f"first_day={scale.kept},")
        (folder / f"example_{name}.py").write_text(text)
    shutil.copy(Path(__file__).parent / "dags" / "cost" / "cost.py", folder)


@pytest.fixture
def stage(
    tmp_path: Path, postgres: Postgres, redis: Redis, sandbox: SandboxProcess, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    warehouse = postgres.with_database("cluster_warehouse")
    connections = {
        "cordial_default": {"conn_type": "cordial", "host": sandbox.url, "password": sandbox.api_key},
        "sftp_default": sftp_connection(sandbox),
        "warehouse": warehouse.airflow_connection(),
    }
    environment = {
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()},
        # Longer than the scheduler needs to record a deferral.
        "AIRFLOW__CORDIAL__POLL_INTERVAL": "8",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }
    scale = SCALES[request.config.getoption("--cluster")]
    copy_examples(tmp_path / "dags", scale)
    metadata = postgres.with_database("cluster")
    with Cluster(tmp_path / "airflow", metadata, redis, tmp_path / "dags", environment, scale.triggerers) as cluster:
        for dag_id in ("example_daily_backfill", "example_range_backfill", "example_load_only"):
            cluster.wait_until_ready(dag_id)
        yield Stage(cluster, sandbox, warehouse, scale)


@pytest.mark.xdist_group("airflow")
@pytest.mark.timeout(900)
def test_every_day_is_loaded_once_by_as_many_jobs_as_due(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        backfill_by_runs(stage)
        backfill_again(stage)
        backfill_by_ranges(stage)
        if stage.scale.is_full:
            backfill_partitions(stage)
            run_by_hand(stage)
        export_five_at_once(stage)
        keep_whole(stage)
        if stage.scale.is_full:
            one_task_costs_less(stage)
        assert [job["name"] for job in stage.sandbox.control.jobs() if job["status"] not in ("Done", "Failed")] == []
    finally:
        with capsys.disabled():
            print(report(stage.figures))  # noqa: T201 - the report is the purpose of make test-cluster
    for where, text in stage.cluster.texts():
        assert stage.sandbox.api_key not in text, where


def backfill_by_runs(stage: Stage) -> None:
    dag_id, runs = "example_daily_backfill", stage.scale.runs
    active = min(10, runs // 2)
    with stage.measure("by runs, with faults"), stage.random_faults(seed=1):
        stage.backfill(dag_id, days(runs), "--run-backwards", "--max-active-runs", str(active))
        for number in range(stage.scale.workers_killed):
            due = (number + 1) * runs // (stage.scale.workers_killed + 2)
            stage.cluster.wait_until(lambda due=due: len(stage.jobs(dag_id)) > due, "some jobs", 300)  # type: ignore[misc]
            kill_a_worker_that_submits(stage, dag_id)
        stage.cluster.wait_until(lambda: "success" in stage.cluster.states()[dag_id], "a run that ended", 300)
        one, *others = stage.cluster.list_components("triggerer")
        stage.cluster.restart(one)
        for other in others:
            stage.cluster.kill(other)
        stage.wait(dag_id, ["success"] * runs, 500)
    stage.check_table("daily_trends", days(runs), due=runs)
    jobs = stage.jobs(dag_id)
    assert len(jobs) == runs
    assert {job["status"] for job in jobs} == {"Done"}
    assert stage.job_ids("daily_trends") == {job["id"] for job in jobs}
    query = "SELECT count(*) FROM task_instance WHERE dag_id = %s AND task_id = 'export' AND try_number > 1"
    ((tried_again,),) = stage.cluster.rows(query, dag_id)
    assert tried_again >= stage.scale.workers_killed
    # Backwards: the runs of the last days start first.
    query = "SELECT logical_date FROM dag_run WHERE dag_id = %s ORDER BY start_date LIMIT %s"
    started = {logical_date.date() for (logical_date,) in stage.cluster.rows(query, dag_id, active)}
    assert started == {days(runs).end + timedelta(days=1 - n) for n in range(active)}


def kill_a_worker_that_submits(stage: Stage, dag_id: str) -> None:
    """Kill the worker of a task whose export Cordial has accepted but not answered yet."""
    stage.sandbox.control.fault("create_export", "delay", processed=True, seconds=30, times=1)
    query = (
        "SELECT pid FROM task_instance WHERE dag_id = %s AND task_id = 'export' AND state = 'running'"
        " AND start_date < now() - interval '12 seconds'"
    )
    stage.cluster.wait_until(lambda: bool(stage.cluster.rows(query, dag_id)), "a task that submits", 300)
    ((pid,), *_) = stage.cluster.rows(query, dag_id)
    stage.cluster.kill(stage.cluster.find_worker(pid))


def backfill_again(stage: Stage) -> None:
    dag_id, runs = "example_daily_backfill", stage.scale.runs
    # Airflow permits one backfill of a DAG at a time, and notices the end of one with a delay.
    stage.cluster.wait_until(
        lambda: not stage.cluster.rows("SELECT 1 FROM backfill WHERE completed_at IS NULL"), "the end of the backfill"
    )
    before = stage.job_ids("daily_trends")
    with stage.measure("by runs, all again"):
        stage.backfill(dag_id, days(runs), "--max-active-runs", "10", "--reprocess-behavior", "completed")
        stage.cluster.wait_until(lambda: len(stage.jobs(dag_id)) == 2 * runs, "new jobs", 400)
        stage.wait(dag_id, ["success"] * runs, 400)
    stage.check_table("daily_trends", days(runs), due=runs)
    assert len(stage.jobs(dag_id)) == 2 * runs
    assert not before & stage.job_ids("daily_trends")
    assert count_concurrent(stage.jobs(dag_id)[runs:]) <= EXPORTS_AT_A_TIME


def backfill_by_ranges(stage: Stage) -> None:
    dag_id, whole = "example_range_backfill", days(stage.scale.ranges)
    parts = whole.chunks(stage.scale.days_per_export)
    stage.sandbox.control.behaviour(job_fails_with="disk full")
    with stage.measure("by ranges, with faults"), stage.random_faults(seed=2):
        stage.cluster.trigger(
            dag_id,
            audiences=list(AUDIENCES),
            first_day=str(whole.start),
            last_day=str(whole.end),
            days_per_export=stage.scale.days_per_export,
        )
        stage.cluster.wait_until(
            lambda: any(job["status"] == "Failed" for job in stage.jobs(dag_id)), "a job that failed", 120
        )
        stage.sandbox.control.behaviour(job_fails_with=None)
        stage.wait(dag_id, ["success"], 400)
    jobs = stage.jobs(dag_id)
    # Only a Failed job is exported again, and only its part of the range.
    done = [job for job in jobs if job["status"] == "Done"]
    stage.check_table("trends_of_ranges", whole, due=len(parts) + len(jobs) - len(done))
    assert sorted(job["selected_timeframe_start"] for job in done) == [str(part.start) for part in parts]
    assert 1 <= len(jobs) - len(done) <= EXPORTS_AT_A_TIME
    query = "SELECT rendered_map_index FROM task_instance WHERE dag_id = %s AND map_index >= 0"
    labels = Counter(label for (label,) in stage.cluster.rows(query, dag_id))
    assert labels == Counter({str(part.start): 2 for part in parts})


def backfill_partitions(stage: Stage) -> None:
    count = stage.scale.partitions
    with stage.measure("by partitions"):
        stage.backfill("example_partitions_producer", days(count), nights_after=0)
        stage.wait("example_partitions_producer", ["success"] * count, 200)
        stage.wait("example_partitions_consumer", ["success"] * count, 200)
    stage.check_table("trends_of_partitions", days(count), due=count)
    assert len(stage.jobs("example_partitions_producer")) == count
    keys = stage.cluster.rows(
        "SELECT partition_key FROM dag_run WHERE dag_id = 'example_partitions_consumer' ORDER BY 1"
    )
    assert keys == [(str(day),) for day in days(count)]
    events = stage.cluster.rows(
        "SELECT asset_event.extra, partition_key FROM asset_event JOIN asset ON asset.id = asset_id"
        " WHERE uri LIKE %s ORDER BY 2",
        "%/trends_of_partitions",
    )
    assert [(extra["days"], extra["audiences"], extra["rows"]) for extra, _ in events] == [
        ([str(day)], list(AUDIENCES), len(AUDIENCES)) for day in days(count)
    ]
    assert {extra["job_id"] for extra, _ in events} == stage.job_ids("trends_of_partitions")


def run_by_hand(stage: Stage) -> None:
    started = datetime.now().astimezone()
    with stage.measure("by hand"):
        stage.cluster.trigger("example_look_back")
        stage.cluster.trigger("example_export_only")
        for dag_id in ("example_look_back", "example_export_only", "example_load_only"):
            stage.wait(dag_id, ["success"], 200)
    (job,) = stage.jobs("example_look_back")
    week = Timeframe(*(date.fromisoformat(job[f"selected_timeframe_{which}"]) for which in ("start", "end")))
    assert len(week) == 7
    assert timedelta() < started.date() - week.end <= timedelta(days=2)
    stage.check_table("trends_of_a_week", week, due=2)
    (job,) = stage.jobs("example_export_only")
    day = date.fromisoformat(job["selected_timeframe_end"])
    stage.check_table("trends_of_another_dag", Timeframe(day, day), due=2)
    assert stage.job_ids("trends_of_another_dag") == {job["id"]}


def export_five_at_once(stage: Stage) -> None:
    """Five exports end together, and Airflow may tell the loading DAG of fewer; the next run of it loads the rest."""
    dag_id, five = "example_export_only", days(5)
    exported = len(stage.jobs(dag_id))

    def loads() -> list[str]:
        return stage.cluster.states().get("example_load_only", [])

    before = len(loads())
    with stage.measure("five at once"):
        stage.backfill(dag_id, five, "--max-active-runs", "5")
        stage.cluster.wait_until(lambda: len(stage.jobs(dag_id)) >= exported + 5, "five jobs", 200)
        stage.cluster.wait_until(lambda: set(stage.cluster.states()[dag_id]) == {"success"}, "the exports", 200)

        def has_loaded() -> bool:
            return len(loads()) > before and set(loads()) == {"success"}

        stage.cluster.wait_until(has_loaded, "a load", 200)
        # Whatever was lost, one more event is enough.
        stage.cluster.trigger(dag_id)
        stage.cluster.wait_until(lambda: len(stage.jobs(dag_id)) >= exported + 6, "another job", 200)
        before = len(loads())
        stage.cluster.wait_until(has_loaded, "another load", 200)
    assert stage.compare_table("trends_of_another_dag", five)["missing"] == 0
    # Of a day that was exported by hand twice, the table has the later job.
    jobs = {job["id"] for job in stage.jobs(dag_id) if date.fromisoformat(job["selected_timeframe_end"]) in five}
    assert len(jobs) == len(five)
    assert stage.job_ids("trends_of_another_dag") > jobs


def keep_whole(stage: Stage) -> None:
    """Days, an audience of a month, and numbers are gone from a table; one run brings back these and nothing else."""
    dag_id, table, look_back = "example_keep_whole", "trends_kept_whole", 3
    today = datetime.now(ZoneInfo("America/Los_Angeles")).date()
    whole = Timeframe(today - timedelta(days=stage.scale.kept), today - timedelta(days=1))
    gone = lose_cells(whole, random.Random(3))
    blank = {cell for cell in gone if cell[1].day % 5 == 0}
    stage.fill_table(table, whole, without=gone - blank, blank=blank)
    with stage.measure("kept whole, with faults"), stage.random_faults(seed=4):
        stage.cluster.trigger(dag_id)
        stage.wait(dag_id, ["success"], 400)
    jobs = stage.jobs(dag_id)
    exported = Counter(
        (audience, day)
        for job in jobs
        for audience in job["audiences"]
        for day in Timeframe(*(date.fromisoformat(job[f"selected_timeframe_{which}"]) for which in ("start", "end")))
    )
    looked_back = {(audience, day) for audience in AUDIENCES for day in list(whole)[-look_back:]}
    assert set(exported) == gone | looked_back, "nothing else is exported"
    assert set(exported.values()) == {1}
    fewest = least_exports(gone | looked_back)
    stage.check_table(table, whole, due=len(jobs))
    stage.figures["kept whole, with faults"]["due"] = fewest
    assert len(jobs) <= 1.2 * fewest


def lose_cells(whole: Timeframe, chance: random.Random) -> set[tuple[str, date]]:
    """Return days of all audiences, a month of one audience, and single cells."""
    days = list(whole)
    all_of_a_day = {(audience, day) for day in chance.sample(days, len(days) // 15) for audience in AUDIENCES}
    start = chance.randrange(len(days) - 30)
    single = {(chance.choice(AUDIENCES), day) for day in chance.sample(days, len(days) // 20)}
    return all_of_a_day | {(AUDIENCES[0], day) for day in days[start : start + 30]} | single


def least_exports(cells: set[tuple[str, date]], max_days: int = 31) -> int:
    """Return a number of exports that no plan goes below: that of cells of which no two fit in one export."""

    def share_an_export(one: tuple[str, date], other: tuple[str, date]) -> bool:
        days = Timeframe(*sorted((one[1], other[1])))
        return len(days) <= max_days and all((name, day) in cells for day in days for name in (one[0], other[0]))

    apart: list[tuple[str, date]] = []
    for cell in sorted(cells, key=lambda cell: (cell[1], cell[0])):
        if not any(share_an_export(cell, other) for other in apart):
            apart.append(cell)
    return len(apart)


def one_task_costs_less(stage: Stage) -> None:
    """An export, a wait, and a load in one task cost the workers less than in three."""
    days, cpu = Timeframe(date(2026, 1, 1), date(2026, 1, 20)), {}
    # The first run of each only warms the workers up.
    for run in (1, 2):
        for dag_id in ("cost_one", "cost_three"):
            with stage.measure(f"{dag_id}, run {run}"):
                stage.cluster.trigger(dag_id)
                stage.wait(dag_id, ["success"] * run, 400)
            stage.check_table(dag_id, days, due=len(days))
            spent = stage.figures[f"{dag_id}, run {run}"]["cpu"]
            cpu[dag_id] = sum(seconds for name, seconds in spent.items() if name.startswith("worker"))
    one, three = cpu["cost_one"], cpu["cost_three"]
    assert one <= 0.7 * three, (one, three)


def count_concurrent(jobs: Sequence[dict[str, Any]]) -> int:
    """Return the maximum number of jobs that ran in Cordial at once."""
    moments = [(job["created_at"], 1) for job in jobs] + [(job["ended_at"], -1) for job in jobs]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most
