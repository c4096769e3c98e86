"""``airflow cordial reconcile``."""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path

import pytest

from airflow_provider_cordial.trends import Columns
from airflow_provider_cordial.trends.tables import build_table
from cordial_sandbox.process import SandboxProcess
from tests.helpers.cli import Cordial
from tests.helpers.loads import batch
from tests.unit.airflow_provider_cordial.cli.conftest import AUDIENCES, WEEK, week_of

SFTP = ["--destination", "sftp", "conn_id=sftp_default", "path=exports"]

pytestmark = pytest.mark.usefixtures("quick_files")


@pytest.fixture
def equal(cordial: SandboxProcess, warehouse: Path) -> str:
    """A table that has what Cordial has."""
    table = build_table("warehouse", "trends", Columns(), create=True)
    for audience in AUDIENCES:
        days = cordial.control.snapshots(audience=audience, start=str(WEEK.start), end=str(WEEK.end))
        contacts = {one["date"]: one["contacts"] for one in days}
        table.load(batch({audience: [contacts.get(str(day)) for day in WEEK]}, days=[*WEEK]))
    return "trends"


def stored(warehouse: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(warehouse) as connection:
        return connection.execute("SELECT * FROM trends ORDER BY 1, 2").fetchall()


def break_cells(warehouse: Path) -> int:
    """Change a number by 1, delete a row, and blank one; return the number that was changed."""
    with sqlite3.connect(warehouse) as connection:
        where = "WHERE audience = ? AND snapshot_date = ?"
        ((number,),) = connection.execute(f"SELECT contacts FROM trends {where}", (AUDIENCES[0], "2026-11-03"))
        connection.execute(f"UPDATE trends SET contacts = contacts + 1 {where}", (AUDIENCES[0], "2026-11-03"))
        connection.execute(f"DELETE FROM trends {where}", (AUDIENCES[0], "2026-11-05"))
        connection.execute(f"UPDATE trends SET contacts = NULL {where}", (AUDIENCES[1], "2026-11-08"))
    return int(number)


def test_an_equal_table_exits_with_0(
    cordial: SandboxProcess, equal: str, warehouse: Path, airflow_cordial: Cordial, tmp_path: Path
) -> None:
    before = stored(warehouse)
    report = tmp_path / "report.csv"
    report.write_text("an earlier one")
    done = airflow_cordial("reconcile", *week_of(equal), *SFTP, "--report", report)
    assert (done.code, done.out) == (
        0,
        "trends, 2026-11-02 to 2026-11-08, 2 audiences: 14 cells compared, all equal\n",
    ), done
    (job,) = cordial.control.jobs()
    # Progress is not a result.
    assert job["id"] in done.err
    assert report.read_text() == "audience,snapshot_date,difference,table,file\n"
    assert stored(warehouse) == before


def test_each_difference_is_reported_and_nothing_is_written(
    cordial: SandboxProcess, equal: str, warehouse: Path, airflow_cordial: Cordial, tmp_path: Path
) -> None:
    number = break_cells(warehouse)
    before, report = stored(warehouse), tmp_path / "report.csv"
    done = airflow_cordial("reconcile", *week_of(equal), *SFTP, "--report", report, "--output", "json")
    assert done.code == 1, done
    (job,) = cordial.control.jobs()
    assert done.json | {"file": ""} == {
        "timeframe": WEEK.to_json(),
        "audiences": [*AUDIENCES],
        "compared": 14,
        "changed": 1,
        "missing": 1,
        "blank": 1,
        "lost": 0,
        "differences": {AUDIENCES[0]: ["2026-11-03", "2026-11-05"], AUDIENCES[1]: ["2026-11-08"]},
        "truncated": False,
        "file": "",
        "job_id": job["id"],
    }
    rows = [*csv.reader(report.read_text().splitlines())]
    assert rows[0] == ["audience", "snapshot_date", "difference", "table", "file"]
    assert rows[1] == [AUDIENCES[0], "2026-11-03", "changed", str(number + 1), str(number)]
    assert [row[2] for row in rows[2:]] == ["missing", "blank"]
    assert [path.name for path in tmp_path.glob("*report*")] + [*tmp_path.glob(".report*")] == ["report.csv"]
    assert stored(warehouse) == before
    shown = airflow_cordial("reconcile", *week_of(equal), *SFTP)
    first, heading, *lines = shown.out.rstrip().splitlines()
    assert shown.code == 1
    assert first.endswith(": 14 cells compared, changed 1, missing 1, blank 1")
    assert heading.split() == rows[0]
    assert [line.split()[:3] for line in lines] == [row[:3] for row in rows[1:]]


def test_only_some_differences_are_printed(cordial: SandboxProcess, warehouse: Path, airflow_cordial: Cordial) -> None:
    build_table("warehouse", "trends", Columns(), create=True).load(batch({"other": [1, 2]}))
    month = [*week_of("trends")[:-3], "2026-10-20", *week_of("trends")[-2:]]
    done = airflow_cordial("reconcile", *month, *SFTP)
    counted = int(done.out.split("missing ")[1].split("\n")[0])
    assert (done.code, len(done.out.splitlines())) == (1, 23)
    assert counted > 20
    assert done.out.splitlines()[-1] == f"{counted - 20} more differences: --report FILE.csv writes all of them"


def test_a_sample_is_some_of_the_audiences(cordial: SandboxProcess, equal: str, airflow_cordial: Cordial) -> None:
    done = airflow_cordial.json("reconcile", *week_of(equal), *SFTP, "--sample", "1")
    assert (len(done["audiences"]), done["compared"]) == (1, 7)
    assert done["audiences"][0] in AUDIENCES
    (job,) = cordial.control.jobs()
    assert job["audiences"] == done["audiences"]


def test_nothing_is_exported_for_what_cannot_be_compared_or_written(
    cordial: SandboxProcess, equal: str, airflow_cordial: Cordial, tmp_path: Path
) -> None:
    options = week_of(equal)
    for arguments, code, message in (
        ([*options], 2, "Missing destination"),
        ([*week_of("nothing"), *SFTP], 1, "no such table: nothing"),
        ([*options, *SFTP, "--report", tmp_path / "no" / "report.csv"], 2, "Cannot write"),
        ([*options, *SFTP, "--report", tmp_path], 2, "it is not a file"),
        ([*options[:-1], "2999-01-01", *SFTP], 2, "not over"),
    ):
        done = airflow_cordial("reconcile", *arguments)
        assert (done.code, message in done.err, done.out) == (code, True, ""), done
    assert cordial.control.jobs() == []


def test_a_failed_job_leaves_the_earlier_report(
    cordial: SandboxProcess, equal: str, airflow_cordial: Cordial, tmp_path: Path
) -> None:
    cordial.control.behaviour(job_fails_with="disk full")
    report = tmp_path / "report.csv"
    report.write_text("an earlier one")
    done = airflow_cordial("reconcile", *week_of(equal), *SFTP, "--report", report)
    assert (done.code, "Failed: disk full" in done.err, done.out) == (1, True, "")
    assert (report.read_text(), [*tmp_path.glob(".report*")]) == ("an earlier one", [])
