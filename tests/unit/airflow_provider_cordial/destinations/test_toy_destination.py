"""A destination that is defined here: export, wait, and load work without a change in the package."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.destinations import (
    Address,
    DeliveredFile,
    Destination,
    FileWait,
    base,
    destination_from_json,
)
from airflow_provider_cordial.exceptions import DestinationError, InvalidExportError, JobFailedError
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator
from cordial_sandbox.process import SandboxProcess
from tests.helpers.operators import export
from tests.helpers.sandbox import SetConnection

RING = "pigeon-ring-123"


@dataclass(frozen=True, kw_only=True, slots=True)
class PigeonDestination(Destination):
    """A folder on this machine; to Cordial it is the Jobs page, with a secret where no other destination has one."""

    type = "pigeon"

    conn_id: str
    loft: str
    altitude: int | None = None

    def address(self) -> Address:
        ring = BaseHook.get_connection(self.conn_id).extra_dejson["ring"]
        return Address(body={"type": "aws", "savedKey": ring}, uri=f"pigeon://{self.loft}", secrets=(ring,))

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[LoftReader]:
        yield LoftReader(Path(self.loft))


class LoftReader:
    def __init__(self, loft: Path) -> None:
        self._loft = loft

    def files(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:
        return [found for path in self._loft.iterdir() if (found := self.stat(str(path)))]

    def stat(self, path: str) -> DeliveredFile | None:
        status = Path(path).stat()
        return DeliveredFile(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        with Path(path).open("rb") as file:
            yield file


@pytest.fixture
def pigeon(cordial: SandboxProcess, set_connection: SetConnection, tmp_path: Path) -> PigeonDestination:
    set_connection("pigeon_default", conn_type="generic", extra={"ring": RING})
    loft = tmp_path / "loft"
    loft.mkdir()
    return PigeonDestination(conn_id="pigeon_default", loft=str(loft))


def test_a_new_destination_is_exported_to_and_loaded_from(
    cordial: SandboxProcess, pigeon: PigeonDestination, warehouse: Path
) -> None:
    job_id, pushed = export(destination=pigeon, wait_for_completion=True, poll_interval=0.05, timeout=60)
    assert cordial.control.job(job_id)["status"] == "Done"
    assert pushed["destination"] == {"type": "pigeon", "conn_id": "pigeon_default", "loft": pigeon.loft}
    assert pushed["uri"] == f"pigeon://{pigeon.loft}"
    assert RING not in json.dumps(pushed)
    Path(pigeon.loft, f"{pushed['name']}.csv").write_text("audience,2026-11-11\nopened_last_30_days,7\n")
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


def test_its_secret_is_masked_and_absent_from_repr_and_json(
    pigeon: PigeonDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked: list[str] = []
    monkeypatch.setattr(base, "mask_secret", masked.append)
    address = pigeon.address()
    assert masked == [RING]
    assert address.body["savedKey"] == RING
    assert RING not in repr(address) + address.uri + repr(pigeon) + json.dumps(pigeon.to_json())


def test_its_secret_is_redacted_in_a_rejection(cordial: SandboxProcess, pigeon: PigeonDestination) -> None:
    body = json.dumps({"error": True, "message": f"The ring {RING} is wrong."})
    cordial.control.fault("create_export", "answer", status=400, body=body)
    with pytest.raises(DestinationError, match=r"The ring \*\*\* is wrong") as rejected:
        export(destination=pigeon)
    assert RING not in f"{rejected.value} {rejected.value!r} {rejected.value.to_json()}"


def test_its_secret_is_absent_from_a_failed_job(cordial: SandboxProcess, pigeon: PigeonDestination) -> None:
    cordial.control.behaviour(job_fails_with="The pigeon is lost.")
    with pytest.raises(JobFailedError, match=r"The pigeon is lost\.") as failed:
        export(destination=pigeon, wait_for_completion=True, poll_interval=0.05, timeout=60)
    assert RING not in f"{failed.value} {failed.value!r} {failed.value.to_json()}"


def test_it_round_trips_through_json() -> None:
    for destination in (
        PigeonDestination(conn_id="c", loft="l"),
        PigeonDestination(conn_id="c", loft="l", altitude=3),
    ):
        assert destination_from_json(json.loads(json.dumps(destination.to_json()))) == destination


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"conn_id": "c"}, "Missing members of destination 'pigeon': loft."),
        (
            {"conn_id": "c", "loft": "l", "ring": RING},
            "Unknown members of destination 'pigeon': ring. Expected: conn_id, loft, altitude.",
        ),
    ],
)
def test_an_invalid_record_is_rejected_without_its_values(record: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        destination_from_json({"type": "pigeon", **record})
    assert rejected.value.message == text


def test_a_type_is_registered_once() -> None:
    with pytest.raises(TypeError, match=r"(?s)Destination type 'pigeon' is already registered by .*PigeonDestination"):
        type("Other", (PigeonDestination,), {"__slots__": (), "type": "pigeon"})


def test_a_built_in_type_cannot_be_replaced() -> None:
    with pytest.raises(
        TypeError, match=r"(?s)Destination type 'sftp' is already registered by .*\.sftp\.SftpDestination"
    ):
        type("SftpDestination", (Destination,), {"__slots__": (), "type": "sftp"})
