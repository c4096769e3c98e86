"""Test signals, kills, concurrent access, and invalid input."""

from __future__ import annotations

import json
import signal
import sqlite3
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body, sftp_destination, wait_until_settled

SECRET = "robust-secret-4711"


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    sandbox = SandboxProcess(tmp_path / "sandbox", job_seconds=0.1)
    sandbox.start()
    yield sandbox
    sandbox.kill()


def post(sandbox: SandboxProcess, destination: Any, **changes: Any) -> requests.Response:
    days = {"selected_timeframe_start": "2026-11-01", "selected_timeframe_end": "2026-11-10"}
    # Merged here, as export_body drops members that are None.
    body = {**export_body(), "name": "trends", "destination": destination, **days, **changes}
    return requests.post(f"{sandbox.url}/v2/audiencetrendsexport", json=body, auth=(sandbox.api_key, ""), timeout=60)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, None])
def test_sandbox_stops_cleanly_on_signals_and_eof(own_sandbox: SandboxProcess, how: signal.Signals | None) -> None:
    process = own_sandbox._process
    assert process is not None
    assert process.stdin is not None
    if how is None:
        process.stdin.close()
    else:
        process.send_signal(how)
    assert process.wait(10) == 0
    assert "Fatal" not in own_sandbox.log.read_text()


def test_second_sandbox_on_the_same_folder_is_rejected(own_sandbox: SandboxProcess) -> None:
    with pytest.raises(RuntimeError, match="Another sandbox uses"):
        SandboxProcess(own_sandbox.data).start()
    assert requests.get(f"{own_sandbox.url}/_sandbox/health", timeout=5).status_code == 200


def test_log_has_no_secrets_after_a_failed_write(own_sandbox: SandboxProcess) -> None:
    other = sqlite3.connect(own_sandbox.data / "sandbox.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert post(own_sandbox, sftp_destination(own_sandbox, password=SECRET)).status_code == 500
    other.close()
    deadline = time.monotonic() + 10
    while "database is locked" not in own_sandbox.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "database is locked" in own_sandbox.log.read_text()
    assert SECRET not in own_sandbox.log.read_text()


def test_concurrent_exports_of_one_name_do_not_mix(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_seconds=0)
    ids = [
        post(cordial_sandbox, sftp_destination(cordial_sandbox), selected_timeframe_start="2010-01-01").json()["jobId"]
        for _ in range(25)
    ]
    assert [wait_until_settled(cordial_sandbox, job_id)["reason"] for job_id in ids] == [None] * 25
    assert [path.name for path in (cordial_sandbox.sftp.root / "exports").iterdir()] == ["trends.csv"]


def test_jobs_page_stores_one_file_per_job_of_one_name(cordial_sandbox: SandboxProcess) -> None:
    locations = set()
    for end in ("2026-11-01", "2026-11-03"):
        job_id = post(cordial_sandbox, {"type": "aws"}, selected_timeframe_end=end).json()["jobId"]
        location = wait_until_settled(cordial_sandbox, job_id)["delivered_to"]
        assert end in (cordial_sandbox.data / location).read_text()
        locations.add(location)
    assert len(locations) == 2


def test_requests_are_answered_during_a_long_export(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_seconds=0)
    job_id = post(cordial_sandbox, {"type": "aws"}, selected_timeframe_start="0001-01-01").json()["jobId"]
    slowest, delivered = 0.0, False
    while not delivered:
        started = time.monotonic()
        delivered = cordial_sandbox.control.job(job_id)["delivered_to"] is not None
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < 1


@pytest.mark.parametrize("port", ["\u00b2", 0, 65536, "", "ssh", True])
def test_invalid_ports_are_rejected(cordial_sandbox: SandboxProcess, port: Any) -> None:
    response = post(cordial_sandbox, sftp_destination(cordial_sandbox, port=port))
    assert (response.status_code, response.json()["errorKey"]) == (400, "GENERIC_ERROR_KEY")


@pytest.mark.parametrize(
    "changes", [{"server": 5}, {"username": []}, {"password": 5}, {"path": {"a": 1}}, {"savedKey": None}]
)
def test_members_other_than_strings_are_rejected(cordial_sandbox: SandboxProcess, changes: dict[str, Any]) -> None:
    assert post(cordial_sandbox, sftp_destination(cordial_sandbox, **changes)).status_code == 400


def test_unknown_members_are_rejected_and_not_stored(cordial_sandbox: SandboxProcess) -> None:
    response = post(cordial_sandbox, sftp_destination(cordial_sandbox, Password=SECRET))
    assert (response.status_code, response.json()["message"]) == (400, "The destination.Password field is not known.")
    assert SECRET not in json.dumps(cordial_sandbox.control.jobs())


@pytest.mark.parametrize("kind", ["", None])
def test_blank_type_is_reported_as_a_missing_transport(cordial_sandbox: SandboxProcess, kind: str | None) -> None:
    response = post(cordial_sandbox, {"type": kind})
    assert (response.status_code, response.json()["message"]) == (400, "The destination.transport field is required.")


def test_deep_json_and_any_media_type_case_are_handled(cordial_sandbox: SandboxProcess) -> None:
    def send(data: str, media_type: str) -> requests.Response:
        return requests.post(
            f"{cordial_sandbox.url}/v2/audiencetrendsexport",
            data=data,
            headers={"Content-Type": media_type},
            auth=(cordial_sandbox.api_key, ""),
            timeout=10,
        )

    assert send("[" * 200_000, "application/json").json()["errorKey"] == "INVALID_JSON_PROVIDED"
    assert send("{}", "Application/JSON; charset=utf-8").status_code == 400


def test_done_job_remains_done_if_the_delivery_fails(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(delivery_delay=0.2)
    job = wait_until_settled(
        cordial_sandbox, post(cordial_sandbox, sftp_destination(cordial_sandbox, password="wrong")).json()["jobId"]
    )
    assert (job["status"], job["reason"], job["delivered_to"]) == ("Done", "Login failed.", None)


def test_job_status_never_moves_back(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_stays_in="Processing")
    job_id = post(cordial_sandbox, {"type": "aws"}).json()["jobId"]
    while cordial_sandbox.control.job(job_id)["status"] != "Processing":
        time.sleep(0.01)
    cordial_sandbox.control.behaviour(job_stays_in="Scheduled")
    assert wait_until_settled(cordial_sandbox, job_id)["status"] == "Done"


def test_filters_find_jobs_by_the_times_of_their_records(cordial_sandbox: SandboxProcess) -> None:
    job_id = post(cordial_sandbox, {"type": "aws"}).json()["jobId"]
    wait_until_settled(cordial_sandbox, job_id)
    auth = (cordial_sandbox.api_key, "")
    times = requests.get(f"{cordial_sandbox.url}/v2/jobs/{job_id}", auth=auth, timeout=5).json()["times"]
    for edge in ("start", "end"):
        for name, found in (("gte", 1), ("lte", 1), ("gt", 0), ("lt", 0)):
            params = {f"times[{edge}][{name}]": times[edge]}
            listed = requests.get(f"{cordial_sandbox.url}/v2/jobs", params=params, auth=auth, timeout=5).json()
            assert len(listed) == found, (edge, name)


@pytest.mark.parametrize(
    "changes",
    [
        {"file_name": "{nope}"},
        {"file_name": "../{name}"},
        {"file_name": ""},
        {"job_seconds": float("inf")},
        {"job_stays_in": "Failed"},
    ],
)
def test_impossible_behaviour_is_rejected(cordial_sandbox: SandboxProcess, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="status 4"):
        cordial_sandbox.control.behaviour(**changes)


@pytest.mark.parametrize("options", [{"status": 99}, {"headers": {"X": "a\r\nB: c"}}, {"headers": {"X": "\u20ac"}}])
def test_answer_faults_that_are_not_valid_http_are_rejected(
    cordial_sandbox: SandboxProcess, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.fault("any", "answer", **options)


@pytest.mark.parametrize("effect", ["reset", "truncate"])
def test_connection_faults_do_not_log_errors(own_sandbox: SandboxProcess, effect: str) -> None:
    own_sandbox.control.fault("list_jobs", effect, times=1)
    with pytest.raises(requests.RequestException):
        requests.get(f"{own_sandbox.url}/v2/jobs", auth=(own_sandbox.api_key, ""), timeout=5)
    assert own_sandbox.control.requests()
    assert "ERROR" not in own_sandbox.log.read_text()


def test_requests_from_before_a_reset_leave_no_trace(own_sandbox: SandboxProcess) -> None:
    for processed in (True, False):
        own_sandbox.control.fault("create_export", "delay", seconds=1, processed=processed, times=1)
        with pytest.raises(requests.Timeout):
            requests.post(
                f"{own_sandbox.url}/v2/audiencetrendsexport",
                json={"name": "trends", "exportType": "csv", "destination": {"type": "aws"}},
                auth=(own_sandbox.api_key, ""),
                timeout=0.3,
            )
        own_sandbox.control.reset()
        time.sleep(1)
        assert (own_sandbox.control.jobs(), own_sandbox.control.requests()) == ([], [])
    assert "Traceback" not in own_sandbox.log.read_text()


def test_behaviour_survives_a_kill(own_sandbox: SandboxProcess) -> None:
    own_sandbox.control.behaviour(job_name="Another")
    own_sandbox.kill()
    own_sandbox.start()
    assert own_sandbox.control.behaviour()["job_name"] == "Another"


def test_requests_are_in_the_journal_at_once_and_after_a_stop(own_sandbox: SandboxProcess) -> None:
    for count in (1, 2, 3):
        requests.get(f"{own_sandbox.url}/v2/jobs", auth=(own_sandbox.api_key, ""), timeout=5)
        assert len(own_sandbox.control.requests()) == count
    requests.get(f"{own_sandbox.url}/v2/jobs", auth=(own_sandbox.api_key, ""), timeout=5)
    own_sandbox.stop()
    own_sandbox.start()
    assert len(own_sandbox.control.requests()) == 4


def test_a_reset_stops_an_addition_of_bulk_jobs(own_sandbox: SandboxProcess) -> None:
    with ThreadPoolExecutor() as pool:
        adding = pool.submit(own_sandbox.control.add_jobs, 100_000, shortest=600, longest=600)
        while not requests.get(f"{own_sandbox.url}/v2/jobs", auth=(own_sandbox.api_key, ""), timeout=5).json():
            time.sleep(0.01)
        own_sandbox.control.reset()
        with pytest.raises(ValueError, match="409"):
            adding.result(30)
    assert own_sandbox.control.jobs() == []


def test_fault_counts_survive_a_kill(own_sandbox: SandboxProcess) -> None:
    own_sandbox.control.fault("list_jobs", "answer", status=503, times=2)

    def status() -> int:
        return requests.get(f"{own_sandbox.url}/v2/jobs", auth=(own_sandbox.api_key, ""), timeout=5).status_code

    assert status() == 503
    own_sandbox.kill()
    own_sandbox.start()
    assert [status(), status()] == [503, 200]


def test_responses_do_not_wait_for_acknowledgments(cordial_sandbox: SandboxProcess) -> None:
    durations = []
    with requests.Session() as session:
        for _ in range(30):
            started = time.monotonic()
            session.get(f"{cordial_sandbox.url}/v2/jobs", auth=(cordial_sandbox.api_key, ""), timeout=5)
            durations.append(time.monotonic() - started)
    assert statistics.median(durations) < 0.03


def test_control_client_ignores_proxies(cordial_sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr("urllib.request._opener", None)  # urllib caches the opener with the proxies of its creation
    assert cordial_sandbox.control.jobs() == []
