"""What goes wrong around the sandbox: signals, other processes, odd input; and what must not go wrong then."""

from __future__ import annotations

import json
import signal
import sqlite3
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body, sftp_destination

SECRET = "robust-secret-4711"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[SandboxProcess]:
    sandbox = SandboxProcess(tmp_path / "sandbox", job_seconds=0.1)
    sandbox.start()
    yield sandbox
    sandbox.kill()


def post(sandbox: SandboxProcess, destination: Any, **changes: Any) -> requests.Response:
    days = {"selected_timeframe_start": "2026-11-01", "selected_timeframe_end": "2026-11-10"}
    # None is sent as it is.
    body = {**export_body(), "name": "trends", "destination": destination, **days, **changes}
    return requests.post(f"{sandbox.url}/v2/audiencetrendsexport", json=body, auth=(sandbox.api_key, ""), timeout=60)


def settled(sandbox: SandboxProcess, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        job = sandbox.control.job(job_id)
        if job["status"] in ("Done", "Failed") and (job["delivered_to"] or job["reason"]):
            return job
        time.sleep(0.02)
    pytest.fail(f"job {job_id} did not settle: {job}")


def holding(sandbox: SandboxProcess, secret: str) -> list[str]:
    return [path.name for path in sandbox.data.glob("sandbox.*") if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, None])
def test_it_ends_cleanly_on_a_signal_and_when_its_input_ends(own: SandboxProcess, how: signal.Signals | None) -> None:
    process = own._process
    assert process is not None
    assert process.stdin is not None
    if how is None:
        process.stdin.close()
    else:
        process.send_signal(how)
    assert process.wait(10) == 0
    assert "Fatal" not in own.log.read_text()


def test_a_second_sandbox_on_one_folder_is_refused(own: SandboxProcess) -> None:
    with pytest.raises(RuntimeError, match="Another sandbox uses"):
        SandboxProcess(own.data).start()
    assert requests.get(f"{own.url}/_sandbox/health", timeout=5).status_code == 200


def test_no_secret_in_the_log_when_the_database_cannot_be_written(own: SandboxProcess) -> None:
    other = sqlite3.connect(own.data / "sandbox.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert post(own, sftp_destination(own, password=SECRET)).status_code == 500
    other.close()
    deadline = time.monotonic() + 10
    while "database is locked" not in own.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "database is locked" in own.log.read_text()
    assert holding(own, SECRET) == []


def test_no_secret_in_the_files_after_a_reset(own: SandboxProcess) -> None:
    own.control.behaviour(job_stays_in="Scheduled")
    assert post(own, sftp_destination(own, password=SECRET)).status_code == 200
    assert holding(own, SECRET)
    own.control.reset()
    assert holding(own, SECRET) == []


def test_no_secret_in_the_files_of_a_running_sandbox_once_its_job_has_ended(own: SandboxProcess) -> None:
    job_id = post(own, sftp_destination(own, password=SECRET)).json()["jobId"]
    assert settled(own, job_id)["reason"] == "Login failed."
    assert holding(own, SECRET) == []


def test_no_secret_in_the_files_after_a_kill_between_a_jobs_end_and_its_forgetting(own: SandboxProcess) -> None:
    own.control.behaviour(job_stays_in="Scheduled")
    assert post(own, sftp_destination(own, password=SECRET)).status_code == 200
    own.kill()
    database = sqlite3.connect(own.data / "sandbox.sqlite")
    database.execute("UPDATE jobs SET status = 'Failed', secrets = '{}'")
    database.commit()
    # As the kill would leave them; closing the connection would tidy them up.
    left = {path: path.read_bytes() for path in own.data.glob("sandbox.sqlite*")}
    database.close()
    for path, content in left.items():
        path.write_bytes(content)
    assert holding(own, SECRET)
    own.start()
    assert holding(own, SECRET) == []


def test_exports_of_one_name_at_once_do_not_write_into_each_other(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_seconds=0)
    ids = [
        post(cordial_sandbox, sftp_destination(cordial_sandbox), selected_timeframe_start="2010-01-01").json()["jobId"]
        for _ in range(25)
    ]
    assert [settled(cordial_sandbox, job_id)["reason"] for job_id in ids] == [None] * 25
    assert [path.name for path in (cordial_sandbox.sftp.root / "exports").iterdir()] == ["trends.csv"]


def test_the_jobs_page_has_a_file_for_each_job_of_one_name(cordial_sandbox: SandboxProcess) -> None:
    places = set()
    for end in ("2026-11-01", "2026-11-03"):
        job_id = post(cordial_sandbox, {"type": "aws"}, selected_timeframe_end=end).json()["jobId"]
        place = settled(cordial_sandbox, job_id)["delivered_to"]
        assert end in (cordial_sandbox.data / place).read_text()
        places.add(place)
    assert len(places) == 2


def test_requests_are_answered_while_a_long_export_is_made(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_seconds=0)
    job_id = post(cordial_sandbox, {"type": "aws"}, selected_timeframe_start="0001-01-01").json()["jobId"]
    slowest, delivered = 0.0, False
    while not delivered:
        asked = time.monotonic()
        delivered = cordial_sandbox.control.job(job_id)["delivered_to"] is not None
        slowest = max(slowest, time.monotonic() - asked)
    assert slowest < 1


@pytest.mark.parametrize("port", ["\u00b2", 0, 65536, "", "ssh", True])
def test_what_is_no_port_is_refused(cordial_sandbox: SandboxProcess, port: Any) -> None:
    answer = post(cordial_sandbox, sftp_destination(cordial_sandbox, port=port))
    assert (answer.status_code, answer.json()["errorKey"]) == (400, "GENERIC_ERROR_KEY")


@pytest.mark.parametrize("changes", [{"server": 5}, {"username": []}, {"password": 5}, {"path": {"a": 1}}])
def test_a_member_that_is_no_text_is_refused(cordial_sandbox: SandboxProcess, changes: dict[str, Any]) -> None:
    assert post(cordial_sandbox, sftp_destination(cordial_sandbox, **changes)).status_code == 400


def test_a_member_that_is_not_documented_is_refused_and_its_value_not_kept(cordial_sandbox: SandboxProcess) -> None:
    answer = post(cordial_sandbox, sftp_destination(cordial_sandbox, Password=SECRET))
    assert (answer.status_code, answer.json()["message"]) == (400, "The destination.Password field is not known.")
    assert SECRET not in json.dumps(cordial_sandbox.control.jobs())


@pytest.mark.parametrize("kind", ["", None])
def test_an_empty_type_is_a_missing_transport(cordial_sandbox: SandboxProcess, kind: str | None) -> None:
    answer = post(cordial_sandbox, {"type": kind})
    assert (answer.status_code, answer.json()["message"]) == (400, "The destination.transport field is required.")


def test_json_of_any_depth_and_a_media_type_in_any_case(cordial_sandbox: SandboxProcess) -> None:
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


def test_a_job_that_was_shown_as_done_stays_done(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(delivery_delay=0.2)
    job = settled(
        cordial_sandbox, post(cordial_sandbox, sftp_destination(cordial_sandbox, password="wrong")).json()["jobId"]
    )
    assert (job["status"], job["reason"], job["delivered_to"]) == ("Done", "Login failed.", None)


def test_a_job_never_goes_back(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.behaviour(job_stays_in="Processing")
    job_id = post(cordial_sandbox, {"type": "aws"}).json()["jobId"]
    while cordial_sandbox.control.job(job_id)["status"] != "Processing":
        time.sleep(0.01)
    cordial_sandbox.control.behaviour(job_stays_in="Scheduled")
    assert settled(cordial_sandbox, job_id)["status"] == "Done"


def test_the_times_that_a_record_shows_find_it(cordial_sandbox: SandboxProcess) -> None:
    job_id = post(cordial_sandbox, {"type": "aws"}).json()["jobId"]
    settled(cordial_sandbox, job_id)
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
def test_a_behaviour_that_no_job_could_follow_is_refused(
    cordial_sandbox: SandboxProcess, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.behaviour(**changes)


@pytest.mark.parametrize("options", [{"status": 99}, {"headers": {"X": "a\r\nB: c"}}, {"headers": {"X": "\u20ac"}}])
def test_an_answer_that_http_cannot_carry_is_refused(cordial_sandbox: SandboxProcess, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.fault("any", "answer", **options)


@pytest.mark.parametrize("effect", ["reset", "truncate"])
def test_a_broken_connection_is_no_error_in_the_log(own: SandboxProcess, effect: str) -> None:
    own.control.fault("list_jobs", effect, times=1)
    with pytest.raises(requests.RequestException):
        requests.get(f"{own.url}/v2/jobs", auth=(own.api_key, ""), timeout=5)
    assert own.control.requests()
    assert "ERROR" not in own.log.read_text()


def test_a_request_that_began_before_a_reset_leaves_no_trace_after_it(own: SandboxProcess) -> None:
    for processed in (True, False):
        own.control.fault("create_export", "delay", seconds=1, processed=processed, times=1)
        with pytest.raises(requests.Timeout):
            requests.post(
                f"{own.url}/v2/audiencetrendsexport",
                json={"name": "trends", "exportType": "csv", "destination": {"type": "aws"}},
                auth=(own.api_key, ""),
                timeout=0.3,
            )
        own.control.reset()
        time.sleep(1)
        assert (own.control.jobs(), own.control.requests()) == ([], [])
    assert "Traceback" not in own.log.read_text()


def test_what_was_switched_outlives_a_kill(own: SandboxProcess) -> None:
    own.control.behaviour(job_name="Another")
    own.kill()
    own.start()
    assert own.control.behaviour()["job_name"] == "Another"


def test_a_fault_happens_no_oftener_for_a_kill(own: SandboxProcess) -> None:
    own.control.fault("list_jobs", "answer", status=503, times=2)

    def status() -> int:
        return requests.get(f"{own.url}/v2/jobs", auth=(own.api_key, ""), timeout=5).status_code

    assert status() == 503
    own.kill()
    own.start()
    assert [status(), status()] == [503, 200]


def test_no_answer_waits_for_the_client_to_acknowledge_half_of_it(cordial_sandbox: SandboxProcess) -> None:
    took = []
    with requests.Session() as session:
        for _ in range(30):
            asked = time.monotonic()
            session.get(f"{cordial_sandbox.url}/v2/jobs", auth=(cordial_sandbox.api_key, ""), timeout=5)
            took.append(time.monotonic() - asked)
    assert statistics.median(took) < 0.03


def test_control_goes_past_a_proxy(cordial_sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr("urllib.request._opener", None)  # made once, with the proxies of that time
    assert cordial_sandbox.control.jobs() == []
