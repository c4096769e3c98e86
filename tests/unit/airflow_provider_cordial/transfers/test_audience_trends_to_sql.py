"""Loading: the right rows, once, in one transaction, and nothing of an invalid file."""

from __future__ import annotations

import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.assets import table_asset
from airflow_provider_cordial.destinations.file_wait import FileWait
from airflow_provider_cordial.exceptions import (
    CordialError,
    DeliveredFileNotFoundError,
    ExcessiveChangeError,
    InvalidConnectionError,
    InvalidExportError,
    NoDownloadError,
    TableError,
)
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator
from airflow_provider_cordial.trends import Columns, ForeignTrendsError, IncompleteTrendsError, TrendsCsvError
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import GOLD, PLAIN, deliver, export, load
from tests.helpers.sandbox import SetConnection


def rows(warehouse: Path, table: str = "audience_trends") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(warehouse)) as connection:
        query = f"SELECT audience, snapshot_date, contacts, job_id FROM {table} ORDER BY audience, snapshot_date"
        return connection.execute(query).fetchall()


PLAIN_ROWS = [
    (GOLD, "2026-11-10", 3, "j1"),
    (GOLD, "2026-11-11", None, "j1"),
    ("a", "2026-11-10", 1, "j1"),
    ("a", "2026-11-11", 2, "j1"),
]


def test_the_rows_of_a_file(cordial: SandboxProcess, warehouse: Path) -> None:
    deliver(cordial, PLAIN)
    counts = load()
    assert rows(warehouse) == PLAIN_ROWS
    assert counts == {
        "rows": 4,
        "new": 3,
        "same": 0,
        "corrected": 0,
        "blank": 1,
        "kept": 0,
        "audiences": 2,
        "days": 2,
        "missing": 1,
        "file": "exports/trends.csv",
    }


def test_loading_again_results_in_the_same_rows(cordial: SandboxProcess, warehouse: Path) -> None:
    deliver(cordial, PLAIN)
    for _ in range(3):
        load()
        assert rows(warehouse) == PLAIN_ROWS


def test_exactly_the_exported_days_and_audiences_are_replaced(cordial: SandboxProcess, warehouse: Path) -> None:
    deliver(cordial, "audience,2026-11-09,2026-11-10\na,9,9\nb,9,9\n")
    load(export(audiences=["a", "b"], selected_timeframe_start="2026-11-09", selected_timeframe_end="2026-11-10"))
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
    load(export(audiences=["a"], job_id="j2"))
    assert rows(warehouse) == [
        ("a", "2026-11-09", 9, "j1"),
        ("a", "2026-11-10", 1, "j2"),
        ("a", "2026-11-11", 2, "j2"),
        ("b", "2026-11-09", 9, "j1"),
        ("b", "2026-11-10", 9, "j1"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), id="byte-order-mark"),
        pytest.param(PLAIN.replace("\n", "\r\n"), id="crlf"),
        pytest.param(PLAIN.replace("3,\n", "3,null\n"), id="null"),
        pytest.param('audience,2026-11-11,2026-11-10\n"Käufer, ""Gold""",,3\na,2,1\n', id="another-order"),
    ],
)
def test_other_forms_of_the_same_file(cordial: SandboxProcess, warehouse: Path, content: str | bytes) -> None:
    deliver(cordial, content)
    load()
    assert rows(warehouse) == PLAIN_ROWS


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (
            "audience,2026-11-10,2026-11-11\na,1\n" + f'"{GOLD.replace(chr(34), chr(34) * 2)}",3,4\n',
            TrendsCsvError,
            "Line 2",
        ),
        ("audience,2026-11-10,2026-11-10\na,1,2\n", TrendsCsvError, "Duplicate day 2026-11-10"),
        ("audience,2026-11-10,2026-11-11\na,1,many\n", TrendsCsvError, "Invalid contact count 'many'"),
        ("audience,2026-11-10,2026-11-11\na,1,-2\n", TrendsCsvError, "Invalid contact count '-2'"),
        ("audience,2026-11-10,2026-11-11\na,1,2\na,1,2\n", TrendsCsvError, "Duplicate audience 'a'"),
        (
            "audience,2026-11-10,2026-11-11\na,1,2\n",
            IncompleteTrendsError,
            f"The file lacks 1 requested audience: {GOLD}",
        ),
        ('audience,2026-11-10\na,1\n"Käufer, ""Gold""",3\n', IncompleteTrendsError, "1 requested day: 2026-11-11"),
        (PLAIN + "b,1,2\n", ForeignTrendsError, "audience 'b', which export 'trends' did not request"),
        ("audience,2026-11-10,2026-11-12\na,1,2\n", ForeignTrendsError, "day '2026-11-12', which export"),
    ],
)
def test_an_invalid_file_leaves_the_table_unchanged(
    cordial: SandboxProcess, warehouse: Path, content: str, error: type[CordialError], text: str
) -> None:
    deliver(cordial, PLAIN)
    load()
    deliver(cordial, content)
    with pytest.raises(error, match=text) as rejected:
        load(export(job_id="j2"))
    # An incomplete file may be complete at the next try.
    assert isinstance(rejected.value, AirflowFailException) is (error is not IncompleteTrendsError)
    assert rows(warehouse) == PLAIN_ROWS


@pytest.mark.parametrize("on_missing", ["warn", "ignore"])
def test_missing_data_can_be_accepted(
    cordial: SandboxProcess, warehouse: Path, on_missing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(cordial, "audience,2026-11-10\na,1\n")
    with caplog.at_level("WARNING"):
        counts = load(on_missing=on_missing)
    assert (counts["rows"], counts["audiences"], counts["days"]) == (1, 1, 1)
    assert rows(warehouse) == [("a", "2026-11-10", 1, "j1")]
    assert ("1 requested day" in caplog.text) is (on_missing == "warn")


@pytest.mark.parametrize(
    "content",
    [
        "audience,2026-11-10,2026-11-11\n",
        "audience\n",
        "audience\na\n",
    ],
)
def test_nothing_is_deleted_if_nothing_came(cordial: SandboxProcess, warehouse: Path, content: str) -> None:
    deliver(cordial, PLAIN)
    load()
    deliver(cordial, content)
    assert load(export(job_id="j2"), on_missing="warn")["rows"] == 0
    assert rows(warehouse) == PLAIN_ROWS


def test_audiences_are_written_as_they_were_requested(cordial: SandboxProcess, warehouse: Path) -> None:
    decomposed = unicodedata.normalize("NFD", PLAIN).replace("a,1", "a\u00a0,1").replace('Gold""', 'Gold""\u200b')
    assert decomposed != PLAIN
    deliver(cordial, decomposed)
    load()
    assert rows(warehouse) == PLAIN_ROWS


def test_a_number_is_kept_where_the_file_is_blank(
    cordial: SandboxProcess, warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(cordial, PLAIN)
    load()
    deliver(cordial, PLAIN.replace("a,1,2", "a,5,"))
    context: dict[str, Any] = {"outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None)}
    counts = load(export(job_id="j2"), context=context)
    expected = {"rows": 4, "new": 0, "same": 1, "corrected": 1, "blank": 1, "kept": 1, "missing": 2}
    assert expected.items() <= counts.items()
    event = context["outlet_events"][table_asset("warehouse", "audience_trends")]
    assert {**expected, "job_id": "j2", "audiences": ["a", GOLD]}.items() <= event.extra.items()
    assert (event.extra["days"], event.extra["file"]) == (["2026-11-10", "2026-11-11"], "exports/trends.csv")
    assert "new 0, same 1, corrected 1, blank 1, kept 1, audiences 2" in capsys.readouterr().out
    assert rows(warehouse)[2:] == [("a", "2026-11-10", 5, "j2"), ("a", "2026-11-11", 2, "j1")]
    assert load(export(job_id="j3"), on_blank="replace")["blank"] == 2
    assert rows(warehouse)[3] == ("a", "2026-11-11", None, "j3")


def test_an_invalid_on_blank_is_rejected(warehouse: Path) -> None:
    with pytest.raises(InvalidExportError, match="Invalid on_blank 'skip': use keep or replace"):
        load(on_blank="skip")


def test_a_large_change_is_held_back_and_corrections_are_recorded(cordial: SandboxProcess, warehouse: Path) -> None:
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,100,200\n")
    one_audience = {"audiences": ["a"]}
    assert load(export(**one_audience), corrections=True, max_change=0.5)["change"] == 0
    before = rows(warehouse)
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,100,800\n")
    with pytest.raises(ExcessiveChangeError, match="would change 200% of the known contacts in 'audience_trends'"):
        load(export(job_id="j2", **one_audience), corrections=True, max_change=0.5)
    assert rows(warehouse) == before
    counts = load(export(job_id="j2", **one_audience), corrections=True)
    assert (counts["corrected"], "change" in counts) == (1, False)
    with closing(sqlite3.connect(warehouse)) as connection:
        found = connection.execute("SELECT old_contacts, new_contacts, job_id FROM audience_trends_corrections")
        assert found.fetchall() == [(200, 800, "j2")]


@pytest.mark.parametrize("invalid", [{"max_change": -1}, {"corrections": "yes"}], ids=str)
def test_invalid_corrections_are_rejected_before_the_file_is_read(warehouse: Path, invalid: dict[str, Any]) -> None:
    with pytest.raises(InvalidExportError, match=f"Invalid {next(iter(invalid))} "):
        load(**invalid)


def test_the_scope_is_templated_and_separates_accounts(cordial: SandboxProcess, warehouse: Path) -> None:
    deliver(cordial, PLAIN)
    for account in ("us", "eu"):
        load(columns=Columns(scope={"account": "{{ account }}"}), context={"account": account})
    with closing(sqlite3.connect(warehouse)) as connection:
        found = connection.execute("SELECT account, count(*) FROM audience_trends GROUP BY 1 ORDER BY 1").fetchall()
    assert found == [("eu", 4), ("us", 4)]


def test_a_refused_audience_is_not_missing(
    cordial: SandboxProcess, warehouse: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
    context: dict[str, Any] = {"outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None)}
    with caplog.at_level("WARNING"):
        counts = load(export(audiences=["a"], refused_audiences=["renamed"]), context=context)
    assert counts["refused_audiences"] == ["renamed"]
    assert "renamed" not in caplog.text
    event = context["outlet_events"][table_asset("warehouse", "audience_trends")]
    assert event.extra["refused_audiences"] == ["renamed"]


def test_more_rows_than_a_batch_are_loaded(cordial: SandboxProcess, warehouse: Path) -> None:
    audiences = [f"a{n}" for n in range(1100)]
    days = [f"2026-11-{day:02}" for day in range(1, 31)]
    lines = ["audience," + ",".join(days), *(name + f",{n}" * len(days) for n, name in enumerate(audiences))]
    deliver(cordial, "\n".join(lines) + "\n")
    record = export(audiences=audiences, selected_timeframe_start=days[0], selected_timeframe_end=days[-1])
    for _ in range(2):
        assert load(record)["rows"] == 33_000
        assert len(rows(warehouse)) == 33_000
    assert {(row[0], row[2]) for row in rows(warehouse)} == {(f"a{n}", n) for n in range(1100)}


def test_a_missing_table_is_created_only_on_request(cordial: SandboxProcess, warehouse: Path) -> None:
    deliver(cordial, PLAIN)
    with pytest.raises(TableError, match="no such table"):
        load(create_table=False)
    load(table="trends_of_2026")
    assert rows(warehouse, "trends_of_2026") == PLAIN_ROWS
    load(create_table=False, table="trends_of_2026")


@pytest.mark.parametrize("table", ["", "a b", "x; DROP TABLE y", 'a"b', "1a", "a..b", "a."])
def test_invalid_table_names_are_rejected(cordial: SandboxProcess, warehouse: Path, table: str) -> None:
    with pytest.raises(InvalidExportError, match="Invalid table name"):
        load(table=table)


def test_columns_can_be_renamed_and_constant_ones_added(cordial: SandboxProcess, warehouse: Path) -> None:
    deliver(cordial, PLAIN)
    columns = Columns(
        names={"audience": "segment", "contacts": "size"}, constants={"account": "acme", "run": "r-{{ 1 + 1 }}"}
    )
    for _ in range(2):
        load(columns=columns)
    with closing(sqlite3.connect(warehouse)) as connection:
        found = connection.execute("SELECT segment, size, account, run FROM audience_trends ORDER BY 1, 2").fetchall()
    assert found == [
        (GOLD, None, "acme", "r-2"),
        (GOLD, 3, "acme", "r-2"),
        ("a", 1, "acme", "r-2"),
        ("a", 2, "acme", "r-2"),
    ]


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"names": {"size": "x"}}, "Unknown column 'size': expected one of audience,"),
        ({"names": {"audience": "a b"}}, "Invalid column name 'a b'"),
        ({"constants": {"x; --": "y"}}, "Invalid column name 'x; --'"),
        ({"constants": {"contacts": "y"}}, "Duplicate column name"),
        ({"scope": {"x y": "z"}}, "Invalid column name 'x y'"),
        ({"scope": {"account": "us"}, "constants": {"account": "us"}}, "Duplicate column name"),
        ({"names": {"audience": "contacts"}}, "Duplicate column name"),
    ],
)
def test_invalid_columns_are_rejected(columns: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        Columns(**columns)
    assert text in str(rejected.value)


def test_last_weeks_file_is_not_loaded(cordial: SandboxProcess, warehouse: Path) -> None:
    import os

    deliver(cordial, PLAIN)
    path = cordial.sftp.root / "exports" / "trends.csv"
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 7 * 24 * 3600))
    with pytest.raises(DeliveredFileNotFoundError, match="trends.csv"):
        load(file_wait=FileWait(timeout=0.2, poll_interval=0.1))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("548817d0", "got '548817d0'"),
        (None, "got None"),
        ({}, "Unknown export kind None"),
        (export(audiences=[]), "Invalid audiences: the list is empty"),
        (export(selected_timeframe_end="2026-11-01"), "is before the start"),
        (export(destination={"type": "dropbox"}), "Invalid destination type 'dropbox'"),
        ({**export(), "job_id": None, "submitted_at": None}, "'submitted_at' is missing or unreadable"),
    ],
)
def test_invalid_exports_are_rejected(cordial: SandboxProcess, warehouse: Path, record: Any, text: str) -> None:
    operator = AudienceTrendsToSqlOperator(task_id="load", export=record, conn_id="warehouse")
    with pytest.raises(InvalidExportError) as rejected:
        operator.execute({})
    assert text in str(rejected.value)


def test_a_connection_without_a_database_is_rejected(cordial: SandboxProcess) -> None:
    with pytest.raises(InvalidConnectionError, match="Connection 'sftp_default' is not a SQL database connection"):
        load(conn_id="sftp_default")


def test_the_jobs_page_cannot_be_loaded_from(cordial: SandboxProcess, warehouse: Path) -> None:
    with pytest.raises(NoDownloadError):
        load(export(destination={"type": "aws"}))


def test_a_database_password_is_in_no_error(cordial: SandboxProcess, set_connection: SetConnection) -> None:
    deliver(cordial, PLAIN)
    set_connection("warehouse", conn_type="postgres", host="127.0.0.1", port=9, login="u", password="secret-123")
    with pytest.raises(Exception, match="127.0.0.1") as failed:
        load()
    assert "secret-123" not in str(failed.value)
