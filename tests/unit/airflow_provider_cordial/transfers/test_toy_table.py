"""A warehouse of its own, without a DbApiHook or cursors: loads work without a change in the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.exceptions import InvalidConnectionError, UnsupportedWarehouseError
from airflow_provider_cordial.trends import IncompleteTrendsError, TrendsBatch, TrendsTable, register_table
from airflow_provider_cordial.trends import tables as registry
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import GOLD, PLAIN, deliver, load
from tests.helpers.sandbox import SetConnection


class JsonLinesTable(TrendsTable):
    """A file of JSON lines; the folder is the host of the connection."""

    def load(self, batch: TrendsBatch) -> int:
        path = Path(str(BaseHook.get_connection(self.conn_id).host)) / f"{self.name}.jsonl"
        old = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        days = {day.isoformat() for day in batch.days}
        kept = [row for row in old if row[0] not in batch.audiences or row[1] not in days]
        new = [
            [row.audience, day.isoformat(), contacts]
            for row in batch.rows
            for day, contacts in zip(batch.days, row.contacts, strict=True)
        ]
        unfinished = path.with_suffix(".part")
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in [*kept, *new]))
        unfinished.replace(path)
        return len(new)


@pytest.fixture
def lake(tmp_path: Path, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry, "_TABLES", dict(registry._TABLES))
    set_connection("lake", conn_type="jsonlines", host=str(tmp_path))
    return tmp_path / "trends.jsonl"


@pytest.fixture(params=["class", "import path"])
def registered(request: pytest.FixtureRequest, lake: Path) -> Path:
    table: Any = JsonLinesTable if request.param == "class" else f"{__name__}:JsonLinesTable"
    register_table("jsonlines", table)
    return lake


@pytest.mark.parametrize("asked", [{"corrections": True}, {"max_change": 0.5}], ids=str)
def test_a_class_that_would_ignore_corrections_is_refused(registered: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedWarehouseError, match="JsonLinesTable does not support it"):
        load(conn_id="lake", table="trends", create_table=False, **asked)
    assert not registered.exists()


def test_a_registered_table_is_loaded(cordial: SandboxProcess, registered: Path) -> None:
    deliver(cordial, PLAIN)
    registered.write_text('["a", "2026-11-10", 99]\n["a", "2026-11-09", 98]\n')
    assert load(conn_id="lake", table="trends", create_table=False)["rows"] == 4
    assert [json.loads(line) for line in registered.read_text().splitlines()] == [
        ["a", "2026-11-09", 98],
        ["a", "2026-11-10", 1],
        ["a", "2026-11-11", 2],
        [GOLD, "2026-11-10", 3],
        [GOLD, "2026-11-11", None],
    ]


def test_an_incomplete_file_does_not_reach_it(cordial: SandboxProcess, registered: Path) -> None:
    deliver(cordial, "audience,2026-11-10,2026-11-11\na,1,2\n")
    with pytest.raises(IncompleteTrendsError, match="The file lacks 1 requested audience: "):
        load(conn_id="lake", table="trends")
    assert not registered.exists()


def test_without_registration_the_connection_is_rejected(
    cordial: SandboxProcess, lake: Path, set_connection: SetConnection
) -> None:
    set_connection("files", conn_type="sftp", host="h")
    with pytest.raises(InvalidConnectionError, match="Connection 'files' is not a SQL database connection"):
        load(conn_id="files", table="trends")
