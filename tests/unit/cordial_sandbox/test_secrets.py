"""Test which files contain secrets, and who can read them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.cipher import read_cipher
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body, sftp_destination

SECRET = "sandbox-password-4711"


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    """A sandbox whose SFTP server has a known password."""
    sandbox = SandboxProcess(tmp_path / "sandbox", sftp_password=SECRET, job_seconds=0.1)
    before = os.umask(0o022)
    try:
        yield sandbox
    finally:
        os.umask(before)
        sandbox.kill()


def export(sandbox: SandboxProcess, **destination: Any) -> str:
    body = export_body(destination=sftp_destination(sandbox, **destination))
    response = requests.post(
        f"{sandbox.url}/v2/audiencetrendsexport", json=body, auth=(sandbox.api_key, ""), timeout=10
    )
    assert response.status_code == 200, response.text
    return str(response.json()["jobId"])


def wait_until(sandbox: SandboxProcess, job_id: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        job = sandbox.control.job(job_id)
        if job["status"] == status:
            return job
        time.sleep(0.02)
    pytest.fail(f"job is not {status}: {job}")


def files_containing(folder: Path, *texts: str) -> set[str]:
    """Return the names of the database's files that contain a text."""
    contents = {path.name: path.read_bytes() for path in folder.glob("sandbox.sqlite*")}
    assert contents
    return {name for name, content in contents.items() if any(text.encode() in content for text in texts)}


def test_database_never_contains_secrets_of_a_held_job(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    # The sandbox's own password is a fact in the database, so this one differs.
    other = "another-secret-0815"
    own_sandbox.control.behaviour(job_stays_in="Processing")
    wait_until(own_sandbox, export(own_sandbox, password=other), "Processing")
    assert files_containing(own_sandbox.data, other) == set()
    own_sandbox.stop()
    assert files_containing(own_sandbox.data, other) == set()


def test_held_job_is_delivered_after_a_kill(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    own_sandbox.control.behaviour(job_stays_in="Processing")
    job_id = export(own_sandbox)
    wait_until(own_sandbox, job_id, "Processing")
    own_sandbox.kill()
    own_sandbox.start()
    own_sandbox.control.behaviour(job_stays_in=None)
    job = wait_until(own_sandbox, job_id, "Done")
    assert (own_sandbox.sftp.root / job["delivered_to"]).is_file()


def test_encrypted_secrets_are_forgotten_once_the_job_is_settled(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    own_sandbox.control.behaviour(job_stays_in="Processing")
    job_id = export(own_sandbox)
    wait_until(own_sandbox, job_id, "Processing")
    own_sandbox.stop()
    assert files_containing(own_sandbox.data, "gAAAA") == {"sandbox.sqlite"}  # the beginning of each token
    own_sandbox.start()
    own_sandbox.control.behaviour(job_stays_in=None)
    wait_until(own_sandbox, job_id, "Done")
    own_sandbox.stop()
    assert files_containing(own_sandbox.data, "gAAAA") == set()


def test_job_fails_if_the_key_of_its_secrets_is_lost(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    own_sandbox.control.behaviour(job_stays_in="Processing")
    job_id = export(own_sandbox)
    wait_until(own_sandbox, job_id, "Processing")
    own_sandbox.stop()
    (own_sandbox.data / "secrets.key").unlink()
    own_sandbox.start()
    own_sandbox.control.behaviour(job_stays_in=None)
    assert "Internal error" in wait_until(own_sandbox, job_id, "Failed")["reason"]


def test_everything_that_a_sandbox_writes_is_private(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    own_sandbox.control.create_saved_key("a-key")
    wait_until(own_sandbox, export(own_sandbox), "Done")
    modes = {path: path.stat().st_mode & 0o777 for path in (own_sandbox.data, *own_sandbox.data.rglob("*"))}
    assert {path.name for path in modes} >= {"secrets.key", "sandbox.sqlite-wal", "sandbox.json", "a-key.key"}
    assert {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_existing_folder_keeps_its_mode_and_its_files_become_private(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    own_sandbox.stop()
    own_sandbox.data.chmod(0o755)
    names = (
        "sandbox.sqlite",
        "sandbox.log",
        "secrets.key",
        "sandbox.json",
        "airflow-connections.json",
        "sftp_host_key",
    )
    for name in names:
        (own_sandbox.data / name).chmod(0o644)
    (own_sandbox.data / "mine.sh").touch(mode=0o755)
    own_sandbox.start()
    assert own_sandbox.data.stat().st_mode & 0o777 == 0o755
    assert {oct((own_sandbox.data / name).stat().st_mode & 0o777) for name in names} == {"0o600"}
    assert (own_sandbox.data / "mine.sh").stat().st_mode & 0o777 == 0o755


def test_invalid_key_is_reported(tmp_path: Path) -> None:
    (tmp_path / "secrets.key").write_text("not a key")
    with pytest.raises(RuntimeError, match="Invalid key in"):
        read_cipher(tmp_path / "secrets.key")
