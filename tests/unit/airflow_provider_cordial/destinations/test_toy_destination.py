"""A destination of its own, defined here: export, wait, and load work without a change in the package."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from airflow_provider_cordial.destinations import (
    Address,
    DeliveredFile,
    Destination,
    FileWait,
    destination_from_json,
)
from airflow_provider_cordial.exceptions import DestinationError, InvalidExportError
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator
from cordial_sandbox.process import SandboxProcess
from tests.helpers.operators import export

TOKEN = "pigeon-token-123"


@dataclass(frozen=True, kw_only=True, slots=True)
class PigeonDestination(Destination):
    """A loft on this machine; Cordial itself reaches it by SFTP."""

    type = "pigeon"

    loft: str
    server: str
    port: int = 22
    rings: int | None = None

    def address(self) -> Address:
        body = {
            "type": "sftp",
            "server": self.server,
            "port": self.port,
            "username": "x",
            "password": TOKEN,
            "path": "p",
        }
        return Address(body=body, uri=f"pigeon://{self.loft}", secrets=(TOKEN,))

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[LoftReader]:
        yield LoftReader(Path(self.loft))


class LoftReader:
    def __init__(self, loft: Path) -> None:
        self._loft = loft

    def files(self) -> list[DeliveredFile]:
        return [found for path in self._loft.iterdir() if (found := self.stat(str(path)))]

    def stat(self, path: str) -> DeliveredFile | None:
        status = Path(path).stat()
        return DeliveredFile(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        with Path(path).open("rb") as file:
            yield file


def pigeon(sandbox: SandboxProcess, loft: Path) -> PigeonDestination:
    return PigeonDestination(loft=str(loft), server=sandbox.sftp.host, port=sandbox.sftp.port)


def test_a_new_destination_is_exported_to_and_loaded_from(
    cordial: SandboxProcess, warehouse: Path, tmp_path: Path
) -> None:
    loft = tmp_path / "loft"
    loft.mkdir()
    _, pushed = export(destination=pigeon(cordial, loft))
    assert pushed["destination"] == {
        "type": "pigeon",
        "loft": str(loft),
        "server": cordial.sftp.host,
        "port": cordial.sftp.port,
    }
    assert pushed["uri"] == f"pigeon://{loft}"
    assert TOKEN not in json.dumps(pushed)
    (loft / f"{pushed['name']}.csv").write_text("audience,2026-11-11\nopened_last_30_days,7\n")
    load = AudienceTrendsToSqlOperator(
        task_id="load",
        export=json.loads(json.dumps(pushed)),
        conn_id="warehouse",
        create_table=True,
        file_wait=FileWait(timeout=5, poll_interval=0.05, stable_for=0.05),
    )
    assert load.execute({})["rows"] == 1
    with closing(sqlite3.connect(warehouse)) as connection:
        rows = connection.execute("SELECT audience, snapshot_date, contacts FROM audience_trends").fetchall()
    assert rows == [("opened_last_30_days", "2026-11-11", 7)]


def test_its_secret_is_struck_out_where_cordial_repeats_it(cordial: SandboxProcess, tmp_path: Path) -> None:
    body = json.dumps({"error": True, "message": f"The token {TOKEN} is wrong."})
    cordial.control.fault("create_export", "answer", status=400, body=body)
    with pytest.raises(DestinationError, match=r"The token \*\*\* is wrong") as rejected:
        export(destination=pigeon(cordial, tmp_path))
    assert TOKEN not in str(rejected.value.to_json())
    assert TOKEN not in repr(pigeon(cordial, tmp_path).address())


def test_it_round_trips_through_json_and_its_optional_members_may_be_missing(tmp_path: Path) -> None:
    destination = PigeonDestination(loft="l", server="s", rings=3)
    assert destination_from_json(json.loads(json.dumps(destination.to_json()))) == destination
    with pytest.raises(InvalidExportError, match="Missing member 'server' of destination 'pigeon'"):
        destination_from_json({"type": "pigeon", "loft": "l"})


def test_a_type_is_registered_once() -> None:
    with pytest.raises(TypeError, match=r"Destination type 'pigeon' is already registered by .*PigeonDestination"):
        type("Other", (PigeonDestination,), {"__slots__": (), "type": "pigeon"})
