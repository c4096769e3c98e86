"""Loading into a real DuckDB."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_provider_cordial.exceptions import TableError, TransientTableError
from airflow_provider_cordial.trends import Columns, ForeignTrendsError
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import GOLD, ODD, PLAIN, deliver, export, load
from tests.helpers.sandbox import SetConnection

TEN, ELEVEN = date(2026, 11, 10), date(2026, 11, 11)
PLAIN_ROWS = [(GOLD, TEN, 3, "j1"), (GOLD, ELEVEN, None, "j1"), ("a", TEN, 1, "j1"), ("a", ELEVEN, 2, "j1")]


@pytest.fixture
def database(tmp_path: Path, cordial: SandboxProcess, set_connection: SetConnection) -> Path:
    path = tmp_path / "warehouse.duckdb"
    set_connection("warehouse", conn_type="duckdb", host=str(path))
    return path


def rows(path: Path, columns: str = "audience, snapshot_date, contacts, job_id") -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(str(path))) as connection:
        found: list[tuple[Any, ...]] = connection.execute(
            f"SELECT {columns} FROM audience_trends ORDER BY 1, 2"
        ).fetchall()
        return found


def test_loading_again_results_in_the_same_rows(cordial: SandboxProcess, database: Path) -> None:
    deliver(cordial, PLAIN)
    for _ in range(3):
        assert load()["rows"] == 4
        assert rows(database) == PLAIN_ROWS


def test_names_are_loaded_unchanged(cordial: SandboxProcess, database: Path) -> None:
    names = [*ODD, " spaced ", "null", "two\r\nlines", "audience", "2026-11-10"]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["audience", "2026-11-10", "2026-11-11"])
    writer.writerows([name, n, ""] for n, name in enumerate(names))
    deliver(cordial, text.getvalue())
    assert load(export(audiences=names))["rows"] == 2 * len(names)
    assert {row[0]: row[2] for row in rows(database) if row[1] == TEN} == {name: n for n, name in enumerate(names)}
    assert {row[2] for row in rows(database) if row[1] == ELEVEN} == {None}


def test_an_invalid_file_leaves_the_table_unchanged(cordial: SandboxProcess, database: Path) -> None:
    deliver(cordial, PLAIN)
    load()
    deliver(cordial, PLAIN + "b,1,2\n")
    with pytest.raises(ForeignTrendsError):
        load(export(job_id="j2"))
    assert rows(database) == PLAIN_ROWS


def test_a_database_that_another_process_has_open_is_temporary(cordial: SandboxProcess, database: Path) -> None:
    deliver(cordial, PLAIN)
    load()
    code = f"import duckdb; c = duckdb.connect({str(database)!r}); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"1\n"
        with pytest.raises(TransientTableError, match=r"(?s)Could not set lock.*\sRetry the task"):
            load(export(job_id="j2"))
        process.communicate(b"\n", timeout=30)
    assert rows(database) == PLAIN_ROWS


def test_columns_can_be_renamed_and_constant_ones_added(cordial: SandboxProcess, database: Path) -> None:
    deliver(cordial, PLAIN)
    load(columns=Columns(names={"contacts": "size"}, constants={"account": "acme"}))
    assert rows(database, "audience, snapshot_date, size, account")[2] == ("a", TEN, 1, "acme")


def test_the_memory_is_limited_by_the_connection(
    cordial: SandboxProcess, database: Path, set_connection: SetConnection
) -> None:
    set_connection("warehouse", conn_type="duckdb", host=str(database), extra={"memory_limit": "1MB"})
    deliver(cordial, PLAIN)
    with pytest.raises(TableError, match="Out of Memory|memory"):
        load()
    set_connection("warehouse", conn_type="duckdb", host=str(database), extra={"memory_limit": "64MB"})
    assert load()["rows"] == 4
