"""Copying a delivered file: byte for byte, with its parts, each whole or not at all, again without a difference."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_cordial.destinations import FileWait
from airflow_provider_cordial.exceptions import (
    AmbiguousFileError,
    DeliveredFileNotFoundError,
    DestinationAccessError,
    InvalidExportError,
)
from airflow_provider_cordial.transfers import DeliveredFileToObjectStorageOperator
from cordial_sandbox.process import SandboxProcess
from tests.helpers import loads
from tests.helpers.loads import QUICK, deliver
from tests.helpers.sandbox import SetConnection

#: Neither text nor a line: a copy does not read what it copies.
NOISE = b"\xff\xfe\x00\r\n\r" + os.urandom(1 << 20) + gzip.compress(b"x")


def contacts(**changes: Any) -> dict[str, Any]:
    """An export of contacts as the operator pushes it."""
    record = loads.export(**{"kind": "contactexports", "name": "contacts", "fields": ["email"], **changes})
    return {key: value for key, value in record.items() if not key.startswith(("selected_", "audiences"))}


def copy(path: Path | str, *, context: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    operator = DeliveredFileToObjectStorageOperator(
        **{"task_id": "copy", "export": contacts(), "path": str(path), "file_wait": QUICK, **options}
    )
    return operator.execute(context or {})  # type: ignore[arg-type]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_is_copied_byte_for_byte(cordial: SandboxProcess, tmp_path: Path, scheme: str) -> None:
    deliver(cordial, NOISE, "contacts.csv.gz")
    target = f"{scheme}{tmp_path / 'out'}"
    expected = {"path": f"{target}/contacts.csv.gz", "bytes": len(NOISE), "parts": 1}
    assert copy(target) == expected
    assert tree(tmp_path / "out") == {"contacts.csv.gz": NOISE}
    assert copy(target) == expected
    assert tree(tmp_path / "out") == {"contacts.csv.gz": NOISE}


def test_parts_are_copied_as_they_are(cordial: SandboxProcess, tmp_path: Path) -> None:
    parts = {f"contacts-{number}.csv.gz": gzip.compress(b"email\na@b.io\n" * number) for number in range(1, 12)}
    for name, content in parts.items():
        deliver(cordial, content, name)
    with pytest.raises(AmbiguousFileError, match="parts=True"):
        copy(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = copy(tmp_path / "out", parts=True)
    assert tree(tmp_path / "out") == parts
    assert result == {"path": str(tmp_path / "out"), "bytes": sum(map(len, parts.values())), "parts": 11}


@pytest.mark.parametrize(
    ("record", "file_name"),
    [
        (contacts(exportType="json"), "contacts.json"),
        (contacts(exportType="json", compress=True), "contacts.jsonl.gz"),
        (contacts(exportType="txt"), "contacts_548817d0.txt"),
        (loads.export(), "trends.csv"),
    ],
)
def test_a_file_of_every_format_and_kind_is_found(
    cordial: SandboxProcess, tmp_path: Path, record: dict[str, Any], file_name: str
) -> None:
    deliver(cordial, b"[]", file_name)
    assert copy(tmp_path, export=record)["path"] == f"{tmp_path}/{file_name}"


def test_a_file_with_another_name_is_copied_by_its_path(cordial: SandboxProcess, tmp_path: Path) -> None:
    deliver(cordial, b"x", "march.csv")
    assert copy(tmp_path, source_path="exports/march.csv")["path"] == f"{tmp_path}/march.csv"


def test_the_content_of_a_growing_file_is_copied_whole(cordial: SandboxProcess, tmp_path: Path) -> None:
    place = cordial.sftp.root / "exports" / "contacts.csv"
    place.write_bytes(b"")

    def grow() -> None:
        for _ in range(6):
            time.sleep(0.2)
            with place.open("ab") as file:
                file.write(b"a@b.io\n")

    writer = threading.Thread(target=grow)
    writer.start()
    copy(tmp_path, file_wait=FileWait(timeout=10, poll_interval=0.1, stable_for=0.6, incomplete_for=5))
    writer.join()
    assert tree(tmp_path) == {"contacts.csv": b"a@b.io\n" * 6}


def test_an_empty_file_is_copied_only_where_there_is_no_header(cordial: SandboxProcess, tmp_path: Path) -> None:
    deliver(cordial, b"", "contacts.csv")
    assert copy(tmp_path) == {"path": f"{tmp_path}/contacts.csv", "bytes": 0, "parts": 1}
    with pytest.raises(DeliveredFileNotFoundError, match="still empty"):
        copy(tmp_path / "out", export=contacts(showHeader=True))
    assert not (tmp_path / "out").exists()


def test_a_missing_file_leaves_the_target_unchanged(cordial: SandboxProcess, tmp_path: Path) -> None:
    deliver(cordial, b"x", "others.csv")
    with pytest.raises(DeliveredFileNotFoundError, match="others.csv"):
        copy(tmp_path / "out", file_wait=FileWait(timeout=0.3, poll_interval=0.1, stable_for=0.05))
    assert not (tmp_path / "out").exists()


def test_an_interrupted_copy_leaves_each_file_whole(
    cordial: SandboxProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        deliver(cordial, b"old" * 1000, f"contacts-{number}.csv")
    copy(tmp_path, parts=True)
    before = tree(tmp_path)
    for number in (1, 2):
        deliver(cordial, b"new" * 2000, f"contacts-{number}.csv")

    def copy_half(source: IO[bytes], sink: IO[bytes], length: int) -> None:
        sink.write(source.read(20))
        sink.flush()
        raise KeyboardInterrupt

    for module in ("destinations.finder", "transfers.object_storage"):
        with monkeypatch.context() as patch:
            patch.setattr(f"airflow_provider_cordial.{module}.shutil", SimpleNamespace(copyfileobj=copy_half))
            with pytest.raises(KeyboardInterrupt):
                copy(tmp_path, parts=True)
        assert {name: content for name, content in tree(tmp_path).items() if not name.startswith(".")} == before
    copy(tmp_path, parts=True)
    assert tree(tmp_path) == {f"contacts-{number}.csv": b"new" * 2000 for number in (1, 2)}


def test_the_event_carries_what_was_copied(cordial: SandboxProcess, tmp_path: Path) -> None:
    deliver(cordial, b"email\n", "contacts.csv")
    outlet = Asset("x-files://contacts")
    context: dict[str, Any] = {"outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None)}
    result = copy(tmp_path, context=context, outlets=[outlet])
    assert context["outlet_events"][outlet].extra == {"days": [], **result, "job_id": "j1"}
    assert json.loads(json.dumps(result)) == result


def test_no_secret_is_in_an_error(cordial: SandboxProcess, set_connection: SetConnection, tmp_path: Path) -> None:
    sftp = cordial.sftp
    fields = {"host": sftp.host, "port": sftp.port, "login": sftp.username, "password": "wrong-password"}
    set_connection("sftp_default", conn_type="sftp", **fields, extra={"no_host_key_check": "true"})
    with pytest.raises(DestinationAccessError, match="sftp_default") as rejected:
        copy(tmp_path)
    assert "wrong-password" not in str(rejected.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"export": "548817d0"}, "got '548817d0'"),
        ({"export": contacts(kind="elsewhere")}, "Unknown export kind 'elsewhere'"),
        ({"export": contacts(fields=[])}, "Invalid fields []"),
        ({"path": " "}, "Invalid path ' ': expected the folder to copy to"),
    ],
)
def test_invalid_parameters_are_rejected(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        copy(**{"path": tmp_path / "out", **options})
    assert text in rejected.value.message
    assert not (tmp_path / "out").exists()
