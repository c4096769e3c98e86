"""Test the store without a sandbox: what is found with an index, and what has a bound."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, cast, event, update

from cordial_sandbox import store as store_module
from cordial_sandbox.database import Database
from cordial_sandbox.exports.kind import ExportRequest
from cordial_sandbox.fates import Fate
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.settings import Behaviour
from cordial_sandbox.store import JobQuery, Store
from cordial_sandbox.tables import JobRow
from cordial_sandbox.validation import ApiError

REQUEST = ExportRequest("audiencetrendsexport", "old", {"exportType": "csv"}, {"type": "aws"})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> Store:
    store = Store(database, "default")
    store.set_first_behaviour(Behaviour())
    return store


def list_numbers(store: Store, **changes: Any) -> list[int]:
    query: dict[str, Any] = {"created_by": math.inf, "newest": None, "status": None, "times": (), "oldest_first": False}
    jobs = store.list_jobs(JobQuery(**{**query, "offset": 0, "limit": 10, **changes}))
    return [job.number for job in jobs]


def end_jobs(store: Store) -> None:
    """End each job at the second of its number."""
    number, location = JobRow.number, "downloads/" + cast(JobRow.number, String) + "/old.csv"
    with store.session() as session:
        session.execute(update(JobRow).values(status="Done", delivered_to=location, started_at=number, ended_at=number))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"oldest_first": True, "offset": 1, "limit": 2}, [2, 3]),
        ({"newest": 3, "oldest_first": True}, [3, 4, 5]),
        ({"newest": 3, "status": "Failed"}, []),
        ({"status": "Done", "offset": 4}, [1]),
        ({"job_names": ["contactexports"]}, []),
        ({"times": [("end", "gt", 2.0), ("start", "lte", 4.0)]}, [4, 3]),
        ({"times": [("end", "gte", 2.5)]}, [5, 4, 3]),
        ({"times": [("end", "lt", 2.5)]}, [2, 1]),
    ],
)
def test_filters_of_a_list(store: Store, changes: dict[str, Any], found: list[int]) -> None:
    store.add_jobs(REQUEST, [None] * 5)
    end_jobs(store)
    assert list_numbers(store, **changes) == found


@pytest.mark.parametrize(
    "changes", [{}, {"status": "Done"}, {"times": [("end", "gt", 2.0)]}, {"created_by": 1.0}, {"newest": 3}]
)
def test_lists_skip_jobs_in_an_index(database: Database, store: Store, changes: dict[str, Any]) -> None:
    statements: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        statements.append((statement, values))

    event.listen(database._engine, "before_cursor_execute", record)
    list_numbers(store, **changes)
    statement, values = statements[-1]
    with store.session() as session:
        rows = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    plan = [row.detail for row in rows]
    assert any("COVERING INDEX listed_jobs" in step for step in plan), plan
    assert not any(step.startswith("SCAN jobs") or "TEMP B-TREE" in step for step in plan), plan


def test_numbers_of_jobs_are_not_used_again(store: Store) -> None:
    first = store.add_job(REQUEST)
    store.reset()
    assert store.add_job(REQUEST).number > first.number


def test_jobs_that_end_first_are_deleted_beyond_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_ENDED_JOBS", 2)
    store.add_jobs(REQUEST, [None] * 4)
    assert store.delete_excess_jobs() is None
    end_jobs(store)
    assert store.delete_excess_jobs() == {"1", "2"}
    assert store.delete_excess_jobs() is None
    assert list_numbers(store) == [4, 3]


def test_files_and_jobs_expire_step_by_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_STEP", 2)
    store.add_jobs(REQUEST, [None] * 5)
    end_jobs(store)
    assert store.find_downloads() == {"1", "2", "3", "4", "5"}
    assert [store.forget_files_before(4.0) for _ in range(3)] == [{"1", "2"}, {"3"}, set()]
    assert [store.delete_jobs_before(4.0) for _ in range(3)] == [2, 1, 0]
    assert list_numbers(store) == [5, 4]


def test_faults_and_fates_have_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_RULES", 1)
    for _ in range(2):
        store.clear_faults()
        store.clear_fates()
        store.add_fault({"request": "any"}, None)
        store.add_fate(Fate(fails_with="no"))
        with pytest.raises(ApiError, match="at most 1 faults"):
            store.add_fault({"request": "any"}, None)
        with pytest.raises(ApiError, match="at most 1 fates"):
            store.add_fate(Fate(fails_with="no"))


def test_journal_keeps_the_newest_requests(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_MAX_REQUESTS", 3)

    async def add(numbers: range) -> None:
        for number in numbers:
            store.add_request({"number": number})

    for numbers in (range(2), range(2, 5), range(5, 6)):
        asyncio.run(add(numbers))
        assert [request["number"] for request in store.requests()] == list(range(6))[: numbers.stop][-3:]


@pytest.mark.parametrize("version", [1, 2])
def test_folders_of_earlier_versions_are_refused(tmp_path: Path, version: int) -> None:
    with sqlite3.connect(tmp_path / "sandbox.sqlite") as database:
        database.execute("CREATE TABLE facts (key VARCHAR PRIMARY KEY, value JSON NOT NULL)")
        if version > 1:
            database.execute("INSERT INTO facts VALUES ('schema', ?)", (f'{{"version": {version}}}',))
    database.close()
    with pytest.raises(RuntimeError, match=rf"schema {version}, this one has 3\)\. Choose another folder"):
        SandboxProcess(tmp_path).start()
    assert not (tmp_path / "secrets.key").exists()
