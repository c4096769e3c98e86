"""``airflow cordial fill``."""

from __future__ import annotations

import io
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.helpers.cli import Cordial
from tests.helpers.sandbox import SetConnection
from tests.unit.airflow_provider_cordial.cli.conftest import AUDIENCES, WEEK, week_of

SFTP = ["--destination", "sftp", "conn_id=sftp_default", "path=exports"]

pytestmark = pytest.mark.usefixtures("quick_files")


def rows(path: Path, table: str = "trends") -> dict[tuple[str, str], int | None]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(f"SELECT audience, snapshot_date, contacts FROM {table}").fetchall()
    assert len(found) == len({row[:2] for row in found})
    return {(audience, day): contacts for audience, day, contacts in found}


def snapshots(cordial: SandboxProcess, audience: str) -> dict[tuple[str, str], int | None]:
    days = cordial.control.snapshots(audience=audience, start=str(WEEK.start), end=str(WEEK.end))
    return {(audience, one["date"]): one["contacts"] for one in days}


def test_the_gaps_are_exported_and_loaded(
    cordial: SandboxProcess, table: str, warehouse: Path, airflow_cordial: Cordial
) -> None:
    before = rows(warehouse)
    done = airflow_cordial("fill", *week_of(table), *SFTP, "--output", "json")
    assert done.code == 0, done
    (export,) = done.json["exports"]
    (job,) = cordial.control.jobs()
    assert (export["job_id"], export["load"]["new"]) == (job["id"], 2)
    assert done.json["table"]["counts"] == {"loaded": 13, "blank": 1, "missing": 0}
    expected = snapshots(cordial, AUDIENCES[0])
    added = {cell: expected[cell] for cell in rows(warehouse).keys() - before.keys()}
    assert {day for _, day in added} == {"2026-11-05", "2026-11-06"}
    assert rows(warehouse) == {**before, **added}
    assert "1 of 1: loaded 2026-11-05 to 2026-11-06, 1 audience: 2 rows, 2 new, 0 corrected" in done.err
    # Nothing is missing any more, so nothing is exported.
    again = airflow_cordial("fill", *week_of(table), *SFTP)
    assert (again.code, len(cordial.control.jobs())) == (0, 1)


def test_a_new_table_is_filled_some_exports_at_a_time(
    cordial: SandboxProcess, warehouse: Path, airflow_cordial: Cordial
) -> None:
    options = [*week_of("fresh"), *SFTP, "--max-days", "2", "--at-a-time", "3", "--create-table"]
    cordial.control.behaviour(job_seconds=0.5)
    assert airflow_cordial("fill", *options).code == 0
    assert rows(warehouse, "fresh") == {**snapshots(cordial, AUDIENCES[0]), **snapshots(cordial, AUDIENCES[1])}
    times = sorted((job["created_at"], job["ended_at"]) for job in cordial.control.jobs())
    assert len(times) == 4
    assert times[2][0] < times[0][1]


def test_what_fails_does_not_end_the_rest(
    cordial: SandboxProcess, table: str, warehouse: Path, airflow_cordial: Cordial
) -> None:
    # The audience that Cordial does not know fails alone; the exports of the other one are loaded.
    done = airflow_cordial(
        "fill", *week_of(table, "gone", AUDIENCES[0]), *SFTP, "--max-audiences", 1, "--output", "json"
    )
    assert done.code == 1
    failed, loaded = sorted(done.json["exports"], key=lambda one: "load" in one)
    assert "Audience 'gone' does not exist" in failed["error"]
    assert (failed["job_id"], loaded["load"]["new"]) == (None, 2)
    assert done.json["table"]["counts"]["missing"] == 7
    shown = airflow_cordial("fill", *week_of(table, "gone"), *SFTP)
    assert "7 missing" in shown.out
    assert "failed 2026-11-02 to 2026-11-08, 1 audience: POST" in shown.err


def test_an_error_that_all_would_have_ends_the_submissions(
    cordial: SandboxProcess, table: str, airflow_cordial: Cordial, set_connection: SetConnection
) -> None:
    set_connection("cordial_default", conn_type="cordial", host=cordial.url, password="a-wrong-api-key")
    done = airflow_cordial("fill", *week_of(table), *SFTP, "--max-days", 1)
    assert done.code == 1
    assert "Not submitted: 1 export. Correct the error" in done.err
    assert sum(request["method"] == "POST" for request in cordial.control.requests()) == 1


def test_a_failed_job_is_reported(cordial: SandboxProcess, table: str, airflow_cordial: Cordial) -> None:
    cordial.control.behaviour(job_fails_with="disk full")
    done = airflow_cordial("fill", *week_of(table), *SFTP, "--output", "json")
    (export,) = done.json["exports"]
    assert (done.code, "Failed: disk full" in export["error"]) == (1, True)
    cordial.control.behaviour(job_fails_with=None, job_stays_in="Pending")
    slow = airflow_cordial("fill", *week_of(table), *SFTP, "--timeout", "0.3", "--output", "json")
    (export,) = slow.json["exports"]
    assert (slow.code, "did not end before the deadline" in export["error"]) == (1, True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stdin", "message"),
    [(io.StringIO(), "nobody can be asked: add --yes"), (Terminal("n\n"), "Nothing was submitted.")],
    ids=["no terminal", "no"],
)
def test_many_exports_need_a_yes(
    stdin: Any,
    message: str,
    cordial: SandboxProcess,
    table: str,
    airflow_cordial: Cordial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    options = ["--look-back", "7", "--max-days", "1", "--max-audiences", "1"]
    done = airflow_cordial("fill", *week_of(table), *SFTP, *options)
    assert (done.code, message in done.err, cordial.control.jobs()) == (2, True, [])


def test_many_exports_run_after_a_yes(
    cordial: SandboxProcess, warehouse: Path, airflow_cordial: Cordial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    options = ["--max-days", "1", "--max-audiences", "1", "--at-a-time", "7", "--create-table"]
    done = airflow_cordial("fill", *week_of("fresh"), *SFTP, *options)
    assert (done.code, len(cordial.control.jobs())) == (0, 14)
    assert len(rows(warehouse, "fresh")) == 14


def test_an_interrupted_call_names_the_jobs_that_continue(
    cordial: SandboxProcess, table: str, airflow_cordial: Cordial, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_cordial.cli import fill

    def interrupt(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fill, "poll_once", interrupt)
    done = airflow_cordial("fill", *week_of(table), *SFTP)
    (job,) = cordial.control.jobs()
    assert done.code == 130
    assert f"Interrupted; jobs that continue in Cordial: {job['id']}" in done.err


def test_a_missing_destination_is_found_before_anything_else(
    cordial: SandboxProcess, table: str, airflow_cordial: Cordial
) -> None:
    done = airflow_cordial("fill", *week_of(table))
    assert (done.code, "Missing destination" in done.err, cordial.control.jobs()) == (2, True, [])
