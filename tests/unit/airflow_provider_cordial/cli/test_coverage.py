"""``airflow cordial gaps``, ``plan``, and ``heatmap``: what a table has, and which exports it needs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.helpers.cli import Cordial
from tests.unit.airflow_provider_cordial.cli.conftest import AUDIENCES, WEEK, week_of


def test_gaps_are_counted_and_exit_with_1(table: str, airflow_cordial: Cordial) -> None:
    done = airflow_cordial("gaps", *week_of(table), "--output", "json")
    assert done.code == 1
    assert done.json == {
        "timeframe": {"start": "2026-11-02", "end": "2026-11-08"},
        "counts": {"loaded": 11, "blank": 1, "missing": 2},
        "audiences": [
            {
                "audience": AUDIENCES[0],
                "expected": 7,
                "missing": ["2026-11-05", "2026-11-06"],
                "blank": ["2026-11-07"],
            },
            {"audience": AUDIENCES[1], "expected": 7, "missing": [], "blank": []},
        ],
    }
    shown = airflow_cordial("gaps", *week_of(table))
    assert (shown.code, shown.err) == (1, "")
    first, _, row = shown.out.rstrip().splitlines()
    assert first == "trends, 2026-11-02 to 2026-11-08, 2 audiences: 11 loaded, 1 blank, 2 missing"
    assert row.rstrip().split(maxsplit=2) == [AUDIENCES[0], "7", "2026-11-05 to 2026-11-06  2026-11-07"]


def test_a_table_without_gaps_exits_with_0(table: str, airflow_cordial: Cordial) -> None:
    done = airflow_cordial("gaps", *week_of(table, AUDIENCES[1]))
    assert (done.code, done.out.count("\n")) == (0, 1)


def test_the_last_day_is_that_of_the_account(cordial: SandboxProcess, table: str, airflow_cordial: Cordial) -> None:
    options = ["--conn-id", "warehouse", "--table", table, "--audience", "a", "--first-day", "3", "--lag", "2"]
    found = airflow_cordial("gaps", *options, "--output", "json").json
    assert found["counts"] == {"loaded": 0, "blank": 0, "missing": 3}


def test_an_audience_may_have_a_first_day(table: str, airflow_cordial: Cordial, tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    names.write_text(json.dumps({AUDIENCES[0]: "2026-11-07", AUDIENCES[1]: "2026-11-02"}))
    options = [option for option in week_of(table, "x") if option not in ("--audience", "x")]
    found = airflow_cordial.json("gaps", *options, "--audiences-file", names)
    assert found["counts"] == {"loaded": 8, "blank": 1, "missing": 0}
    names.write_text(json.dumps({"x": "soon"}))
    wrong = airflow_cordial("gaps", *options, "--audiences-file", names)
    assert (wrong.code, "Invalid first day of audience 'x' 'soon'" in wrong.err) == (2, True)


def test_columns_and_scope_are_those_of_the_load(warehouse: Path, airflow_cordial: Cordial) -> None:
    with sqlite3.connect(warehouse) as connection:
        connection.execute("CREATE TABLE t (audience TEXT, day TEXT, contacts INT, job_id, loaded_at, account TEXT)")
        connection.executemany(
            "INSERT INTO t VALUES ('a', ?, 1, 'j', '', ?)", [("2026-11-02", "us"), ("2026-11-03", "eu")]
        )
    options = [*week_of("t", "a"), "--column", "snapshot_date=day", "--scope", "account=us", "--output", "json"]
    assert airflow_cordial("gaps", *options).json["counts"]["loaded"] == 1


def test_a_missing_table_is_an_error(warehouse: Path, airflow_cordial: Cordial) -> None:
    done = airflow_cordial("gaps", *week_of("nothing"))
    assert (done.code, done.out) == (1, "")
    assert "no such table: nothing" in done.err
    assert "Traceback" not in done.err
    with sqlite3.connect(warehouse) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_a_plan_asks_for_what_is_missing(table: str, airflow_cordial: Cordial) -> None:
    plan = airflow_cordial.json("plan", *week_of(table))
    assert plan == [{"audiences": [AUDIENCES[0]], "timeframe": {"start": "2026-11-05", "end": "2026-11-06"}}]
    by_day = airflow_cordial.json("plan", *week_of(table), "--max-days", "1", "--ask-blanks-again", "2")
    assert [one["timeframe"]["start"] for one in by_day] == ["2026-11-07", "2026-11-06", "2026-11-05"]
    again = airflow_cordial.json("plan", *week_of(table), "--look-back", "1", "--max-audiences", "1")
    assert [one["timeframe"]["end"] for one in again] == ["2026-11-08", "2026-11-08", "2026-11-06"]
    shown = airflow_cordial("plan", *week_of(table))
    assert shown.out.startswith("1 export, 2 cells\n")
    assert airflow_cordial("plan", *week_of(table, AUDIENCES[1])).out == "0 exports, 0 cells\n"


def test_a_heatmap_has_a_symbol_per_day(table: str, airflow_cordial: Cordial, tmp_path: Path) -> None:
    found = airflow_cordial.json("heatmap", *week_of(table))
    assert found["audiences"] == {AUDIENCES[0]: "■■■××□■", AUDIENCES[1]: "■■■■■■■"}
    shown = airflow_cordial("heatmap", *week_of(table))
    assert f"{AUDIENCES[0]}    ■■■××□■" in shown.out
    assert "■ 11 loaded   □ 1 blank   × 2 missing" in shown.out
    page = tmp_path / "page.html"
    assert airflow_cordial("heatmap", *week_of(table), "--html", page).out == ""
    assert f"<title>{AUDIENCES[0]}, 2026-11-05 to 2026-11-06 (2 days): missing</title>" in page.read_text()
    nowhere = airflow_cordial("heatmap", *week_of(table), "--html", tmp_path / "no" / "page.html")
    assert (nowhere.code, "Cannot write" in nowhere.err) == (2, True)


@pytest.mark.parametrize("command", ["gaps", "plan", "heatmap"])
def test_invalid_days_and_audiences_are_rejected(command: str, table: str, airflow_cordial: Cordial) -> None:
    options = ["--conn-id", "warehouse", "--table", table, "--first-day", WEEK.end, "--last-day", WEEK.start]
    assert airflow_cordial(command, *options).code == 2
    assert "before the start" in airflow_cordial(command, *options, "--audience", "a").err
    nowhere = airflow_cordial(command, "--conn-id", "nowhere", *options[2:4], *week_of(table)[4:])
    assert (nowhere.code, "'nowhere' does not exist" in nowhere.err) == (1, True)
