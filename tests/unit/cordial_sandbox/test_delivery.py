"""Test the delivered files, and that a killed sandbox loses nothing."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import paramiko
import pytest
import requests

from cordial_sandbox import trends
from cordial_sandbox.accounts import BUILT_IN_AUDIENCES, default_accounts
from cordial_sandbox.exports import Content
from cordial_sandbox.exports.audience_trends import trends_csv
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.settings import Behaviour
from tests.helpers.sandbox import sftp_destination, submit, wait_until_settled

AUDIENCES = ["opened_last_30_days", 'Käufer, "Gold"', "recently_tracked"]
SECRET = "delivery-password-4711"
CONNECTION_STRING = "DefaultEndpointsProtocol=http;AccountName={0};AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/{0}"


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    """Provide a sandbox that the test may kill."""
    sandbox = SandboxProcess(
        tmp_path / "sandbox", job_seconds=0.6, sftp_password=SECRET, api_key="key-of-the-test-0815"
    )
    yield sandbox
    sandbox.stop()


def export(sandbox: SandboxProcess, **changes: Any) -> str:
    days = {"selected_timeframe_start": "2025-12-25", "selected_timeframe_end": "2026-01-31"}
    members = {"name": "trends", "audiences": AUDIENCES, "destination": sftp_destination(sandbox), **days, **changes}
    return submit(sandbox, **members)


def read_over_sftp(sandbox: SandboxProcess, path: str) -> bytes:
    sftp = sandbox.sftp
    with socket.create_connection((sftp.host, sftp.port)) as connection, paramiko.Transport(connection) as transport:
        transport.connect(username=sftp.username, password=sftp.password)
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        with client.open(path, "rb") as file:
            return file.read()


def parse_csv(content: bytes, encoding: str = "utf-8") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(encoding), newline="")))


def test_file_matches_the_snapshots(cordial_sandbox: SandboxProcess) -> None:
    job = wait_until_settled(cordial_sandbox, export(cordial_sandbox))
    assert job["delivered_to"] == "exports/trends.csv"
    header, *rows = parse_csv(read_over_sftp(cordial_sandbox, "exports/trends.csv"))
    assert header[0] == "audience"
    assert [row[0] for row in rows] == AUDIENCES
    for row in rows:
        snapshots = cordial_sandbox.control.snapshots(audience=row[0], start="2025-12-25", end="2026-01-31")
        assert header[1:] == [one["date"] for one in snapshots]
        assert row[1:] == ["" if one["contacts"] is None else str(one["contacts"]) for one in snapshots]
    assert len(header) == 1 + 38
    # The history begins when analytics is enabled, and some snapshots are missing.
    assert rows[2][1:8] == [""] * 7
    assert all(rows[0])


def test_snapshots_are_deterministic_and_some_are_missing() -> None:
    days = trends.days_between(date(2025, 1, 1), date(2025, 12, 31))
    sizes = {audience.name: [trends.contacts(audience, day) for day in days] for audience in BUILT_IN_AUDIENCES}
    again = {audience.name: [trends.contacts(audience, day) for day in days] for audience in BUILT_IN_AUDIENCES}
    assert sizes == again
    assert None not in sizes["opened_last_30_days"] + sizes["purchased_last_30_days"]
    assert 0 < sizes["new_subscribers"].count(None) < 30
    assert all(size is None or size >= 0 for row in sizes.values() for size in row)
    assert {audience.name for audience in BUILT_IN_AUDIENCES if not audience.analytics} == {"vip", "staff"}


@pytest.mark.parametrize(
    ("behaviour", "start"),
    [
        ({"csv_bom": True}, b"\xef\xbb\xbfaudience,2025-12-25,"),
        ({"csv_crlf": True, "csv_audience_column": "Segment"}, b"Segment,2025-12-25,"),
        ({"csv_date_format": "%m/%d/%Y"}, b"audience,12/25/2025,"),
        ({"csv_override": "anything"}, b"anything"),
    ],
)
def test_csv_format_is_configurable(cordial_sandbox: SandboxProcess, behaviour: dict[str, Any], start: bytes) -> None:
    cordial_sandbox.control.behaviour(**behaviour)
    wait_until_settled(cordial_sandbox, export(cordial_sandbox))
    content = (cordial_sandbox.sftp.root / "exports" / "trends.csv").read_bytes()
    assert content.startswith(start)
    assert (content.count(b"\r\n") == 4) is behaviour.get("csv_crlf", False)


def test_format_of_missing_days_is_configurable() -> None:
    start, end = date(2025, 12, 31), date(2026, 1, 1)

    def rows(missing: Any) -> list[list[str]]:
        behaviour = Behaviour.model_validate({"csv_missing": missing})
        return parse_csv(trends_csv([audience], start, end, Content(account, behaviour, today=date(2026, 2, 1))))

    (account,) = default_accounts("key")
    audience = account.audiences_by_name["recently_tracked"]
    size = str(trends.contacts(audience, end))
    assert rows("") == [["audience", "2025-12-31", "2026-01-01"], ["recently_tracked", "", size]]
    assert rows("null")[1] == ["recently_tracked", "null", size]
    assert rows("drop_column") == [["audience", "2026-01-01"], ["recently_tracked", size]]


def test_file_name_is_configurable(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(file_name="{name}_{job_id}-{timestamp}.csv")
    job_id = export(cordial_sandbox)
    location = wait_until_settled(cordial_sandbox, job_id)["delivered_to"]
    assert re.fullmatch(rf"exports/trends_{job_id}-\d{{14}}\.csv", location)
    assert read_over_sftp(cordial_sandbox, location)


def test_file_arrives_after_done_with_a_delivery_delay(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(delivery_delay=0.5, job_seconds=0)
    job_id = export(cordial_sandbox)
    path = cordial_sandbox.sftp.root / "exports" / "trends.csv"
    while cordial_sandbox.control.job(job_id)["status"] != "Done":
        assert not path.exists()
    assert not path.exists()
    wait_until_settled(cordial_sandbox, job_id)
    assert path.exists()


def test_jobs_page_stores_the_file(cordial_sandbox: SandboxProcess) -> None:
    job = wait_until_settled(cordial_sandbox, export(cordial_sandbox, destination={"type": "aws"}))
    assert (cordial_sandbox.data / job["delivered_to"]).read_text().startswith("audience,")


@pytest.mark.parametrize("access", [None, "no-connection-string", CONNECTION_STRING.format("another")])
def test_azure_delivery_without_account_access_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: str | None
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    if access is not None:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", access)
    with SandboxProcess(tmp_path, job_seconds=0) as sandbox:
        destination = {"type": "azureblob", "account": "acme", "container": "c", "path": "p"}
        job = wait_until_settled(sandbox, export(sandbox, destination=destination))
    assert (job["status"], job["reason"]) == ("Failed", "No access to the storage account 'acme'")


def test_saved_key_replaces_a_password(cordial_sandbox: SandboxProcess) -> None:
    sftp = cordial_sandbox.sftp
    destination = {"type": "sftp", "server": sftp.host, "port": sftp.port, "username": sftp.username, "path": "exports"}
    missing = "SSH key with such Name/ID: warehouse does not exist."
    with pytest.raises(AssertionError, match=missing):
        export(cordial_sandbox, destination={**destination, "savedKey": "warehouse"})
    public_key = cordial_sandbox.control.create_saved_key("warehouse")
    assert public_key.startswith("ssh-ed25519 ")
    assert cordial_sandbox.control.create_saved_key("warehouse") == public_key
    job = wait_until_settled(
        cordial_sandbox, export(cordial_sandbox, destination={**destination, "savedKey": "warehouse"})
    )
    assert job["delivered_to"] == "exports/trends.csv"
    with pytest.raises(ValueError, match="may only contain letters"):
        cordial_sandbox.control.create_saved_key("a key")
    cordial_sandbox.control.reset()
    with pytest.raises(AssertionError, match=missing):
        export(cordial_sandbox, destination={**destination, "savedKey": "warehouse"})


def test_file_grows_under_its_final_name(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(write_seconds=1, job_seconds=0)
    job_id = export(cordial_sandbox)
    path = cordial_sandbox.sftp.root / "exports" / "trends.csv"
    sizes = set()
    while not cordial_sandbox.control.job(job_id)["delivered_to"]:
        sizes.add(path.stat().st_size if path.exists() else 0)
        time.sleep(0.02)
    assert len(sizes) > 3
    assert path.stat().st_size >= max(sizes)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong-password"}, "Login failed."),
        ({"username": "nobody"}, "Login failed."),
        ({"port": 9}, "Unable to open connection to 127.0.0.1 : 9"),
        ({"path": "nowhere"}, "Invalid file path 'nowhere'."),
        ({"path": "../../.."}, "Invalid file path '../../..'."),
    ],
)
def test_failed_delivery_has_the_documented_reason(
    cordial_sandbox: SandboxProcess, changes: dict[str, Any], reason: str
) -> None:
    sftp = cordial_sandbox.sftp
    destination = {
        "type": "sftp",
        "server": sftp.host,
        "port": sftp.port,
        "username": sftp.username,
        "password": sftp.password,
        "path": "exports",
        **changes,
    }
    job = wait_until_settled(cordial_sandbox, export(cordial_sandbox, destination=destination))
    if changes.get("path") == "../../..":
        # The server confines the path to its root.
        assert job["delivered_to"] == "../../../trends.csv"
        assert (sftp.root / "trends.csv").exists()
        return
    assert (job["status"], job["reason"].removesuffix(" (No such file)")) == ("Failed", reason)
    assert job["destination"]["password"] == "***"


@pytest.mark.parametrize("status", ["Scheduled", "Pending", "Processing", "Done"])
def test_job_resumes_after_a_kill_in_any_status(own_sandbox: SandboxProcess, status: str) -> None:
    own_sandbox.start()
    if status == "Done":
        own_sandbox.control.behaviour(delivery_delay=1)
    job_id, address = export(own_sandbox), own_sandbox.sftp
    while own_sandbox.control.job(job_id)["status"] != status:
        time.sleep(0.005)
    own_sandbox.kill()
    assert not (address.root / "exports" / "trends.csv").exists()
    own_sandbox.start()
    assert own_sandbox.sftp == address
    job = wait_until_settled(own_sandbox, job_id)
    assert (job["status"], job["delivered_to"]) == ("Done", "exports/trends.csv")
    assert sorted(path.name for path in (address.root / "exports").iterdir()) == ["trends.csv"]
    assert len(own_sandbox.control.jobs()) == 1


def test_repeated_kills_lose_and_duplicate_no_file(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    ids = []
    for number in range(6):
        ids.append(export(own_sandbox, name=f"trends-{number}"))
        time.sleep(0.13)
        own_sandbox.kill()
        own_sandbox.start()
    for job_id in ids:
        assert wait_until_settled(own_sandbox, job_id)["status"] == "Done"
    names = sorted(path.name for path in (own_sandbox.sftp.root / "exports").iterdir())
    assert names == [f"trends-{number}.csv" for number in range(6)]
    assert [job["id"] for job in own_sandbox.control.jobs()] == ids[::-1]


def test_secrets_are_erased_once_the_job_has_ended(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    destination_password = "another-password-1234"
    destination = {
        "type": "sftp",
        "server": own_sandbox.sftp.host,
        "port": own_sandbox.sftp.port,
        "username": "cordial",
        "password": destination_password,
        "path": "exports",
    }
    job_id = export(own_sandbox, destination=destination)
    assert wait_until_settled(own_sandbox, job_id)["status"] == "Failed"
    responses = [
        requests.get(own_sandbox.url + path, auth=(own_sandbox.api_key, ""), timeout=10).text
        for path in ("/v2/jobs", f"/v2/jobs/{job_id}", "/_sandbox/jobs", "/_sandbox/requests", "/_sandbox/behaviour")
    ]
    own_sandbox.stop()
    for secret in (destination_password, own_sandbox.api_key):
        assert secret not in "".join(responses)
        for path in own_sandbox.data.rglob("*"):
            if path.is_file() and path.name not in ("sandbox.json", "airflow-connections.json"):
                assert secret.encode() not in path.read_bytes(), path
    for name in ("sandbox.json", "airflow-connections.json", "sandbox.sqlite", "sftp_host_key"):
        assert (own_sandbox.data / name).stat().st_mode & 0o077 == 0, name


def test_sandbox_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from cordial_sandbox.process import SandboxProcess; "
        "sandbox = SandboxProcess(Path(sys.argv[1])); sandbox.start(); print(sandbox._process.pid, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    pid = int(ended.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the sandbox is still running")


def test_failed_start_reports_the_log(tmp_path: Path) -> None:
    (tmp_path / "sandbox.sqlite").write_text("not a database, but long enough for SQLite to read its header" * 100)
    with pytest.raises(RuntimeError, match="file is not a database"):
        SandboxProcess(tmp_path).start()


def test_occupied_port_is_replaced(own_sandbox: SandboxProcess) -> None:
    own_sandbox.start()
    port = own_sandbox.sftp.port
    own_sandbox.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        own_sandbox.start()
        assert own_sandbox.sftp.port != port
    assert "is taken; choosing another" in own_sandbox.log.read_text()


def test_fixtures_are_importable_without_extras() -> None:
    code = (
        "import sys; import cordial_sandbox.pytest_plugin; "
        "print([name for name in ('fastapi', 'sqlalchemy', 'asyncssh', 'uvicorn', 'pydantic') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
