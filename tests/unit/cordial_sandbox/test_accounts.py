"""Test the accounts of a seed file, and their changes."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.accounts import ApiKey, Audience, read_seed
from cordial_sandbox.control_client import SandboxControl
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.trends import contacts
from tests.helpers.sandbox import export_body

SEED = Path(__file__).resolve().parents[3] / "docs/examples/cordial-seed.yaml"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(tmp_path_factory.mktemp("accounts"), job_seconds=0, seed=SEED) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: SandboxProcess) -> SandboxProcess:
    running.control.reset()
    return running


def call(sandbox: SandboxProcess, method: str, path: str, key: str, **options: Any) -> requests.Response:
    return requests.request(method, sandbox.url + path, auth=(key, ""), timeout=10, **options)


def export(sandbox: SandboxProcess, key: str, **changes: Any) -> requests.Response:
    return call(sandbox, "POST", "/v2/audiencetrendsexport", key, json=export_body(**changes))


def test_a_key_sees_the_jobs_of_its_account_only(sandbox: SandboxProcess) -> None:
    job_id = export(sandbox, "retail-key", audiences=["gold"]).json()["jobId"]
    assert [job["_id"] for job in call(sandbox, "GET", "/v2/jobs", "retail-key").json()] == [job_id]
    assert call(sandbox, "GET", f"/v2/jobs/{job_id}", "retail-reports-key").status_code == 200
    assert call(sandbox, "GET", "/v2/jobs", "wholesale-key").json() == []
    assert call(sandbox, "GET", f"/v2/jobs/{job_id}", "wholesale-key").status_code == 404


def test_audiences_belong_to_their_account(sandbox: SandboxProcess) -> None:
    assert export(sandbox, "wholesale-key", audiences=["gold"]).status_code == 406
    assert export(sandbox, "retail-key", audiences=["opened_last_30_days"]).status_code == 406
    assert export(sandbox, "retail-key", audiences=["staff"]).json()["message"] == (
        "For Audience 'staff' analytics disabled."
    )


def test_journal_behaviour_and_faults_belong_to_their_account(sandbox: SandboxProcess) -> None:
    wholesale = sandbox.control_of("wholesale")
    wholesale.behaviour(job_name="Other")
    wholesale.fault("list_jobs", "answer", status=503, times=1)
    assert call(sandbox, "GET", "/v2/jobs", "retail-key").status_code == 200
    assert call(sandbox, "GET", "/v2/jobs", "wholesale-key").status_code == 503
    assert sandbox.control.behaviour()["job_name"] != "Other"
    assert [one["status"] for one in sandbox.control.requests()] == [200]
    assert [one["status"] for one in wholesale.requests()] == [503]
    sandbox.control_of("retail").reset()
    assert (len(sandbox.control.requests()), len(wholesale.requests())) == (0, 1)
    sandbox.control.reset()
    assert wholesale.requests() == []
    assert wholesale.behaviour()["job_name"] != "Other"


def test_an_unknown_account_of_the_control_api_is_not_found(sandbox: SandboxProcess) -> None:
    with pytest.raises(ValueError, match="404.*expected one of retail, wholesale"):
        sandbox.control_of("nobody").jobs()


def test_a_key_calls_only_its_operations(sandbox: SandboxProcess) -> None:
    assert export(sandbox, "retail-reports-key", audiences=["gold"]).status_code == 200
    assert call(sandbox, "GET", "/v2/jobs", "retail-reports-key").status_code == 403
    assert call(sandbox, "POST", "/v2/contactexports", "retail-reports-key", json={}).status_code == 403


@pytest.mark.parametrize(
    ("addresses", "address", "is_permitted"),
    [
        (None, "203.0.113.9", True),
        (("203.0.113.9",), "203.0.113.9", True),
        (("203.0.113.0/24", "::1"), "203.0.113.9", True),
        (("203.0.113.0/24",), "127.0.0.1", False),
        (("::1",), "127.0.0.1", False),
    ],
)
def test_a_key_is_bound_to_its_addresses(addresses: tuple[str, ...] | None, address: str, is_permitted: bool) -> None:
    assert ApiKey(key="k", addresses=addresses).permits_address(address) is is_permitted


def test_a_foreign_address_is_refused(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("accounts: [{name: a, keys: [{key: k, addresses: [203.0.113.9]}]}]")
    with SandboxProcess(tmp_path / "data", seed=seed) as sandbox:
        assert call(sandbox, "GET", "/v2/jobs", "k").status_code == 403


def test_explicit_sizes_are_delivered(sandbox: SandboxProcess) -> None:
    snapshots = sandbox.control.snapshots(audience="gold", start="2026-11-09", end="2026-11-13")
    assert [one["contacts"] for one in snapshots] == [None, 1200, None, 1215, None]


def test_generated_sizes_depend_on_the_seed() -> None:
    day = date(2026, 1, 2)
    sizes = {contacts(Audience(name="a", complete=True, seed=seed), day) for seed in (None, 1, 2)}
    assert len(sizes) == 3
    assert contacts(Audience(name="a", complete=True, seed=1), day) in sizes


def test_addresses_file_has_the_keys_of_every_account(sandbox: SandboxProcess) -> None:
    assert sandbox.api_key == "retail-key"
    assert [account["name"] for account in sandbox.control.accounts()] == ["retail", "wholesale"]


# Changes of a running sandbox.

VIP = {"name": "vip", "id": "a1", "sizes": {"2026-11-10": 5, "2026-11-11": 7}}


def wait_for(sandbox: SandboxProcess, job_id: str, account: str | None = None) -> dict[str, Any]:
    control = SandboxControl(sandbox.url, account)
    deadline = time.monotonic() + 20
    while not (job := control.job(job_id))["ended_at"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job


def read_rows(sandbox: SandboxProcess, job: dict[str, Any]) -> list[list[str]]:
    return list(csv.reader((sandbox.data / job["delivered_to"]).open(encoding="utf-8")))


def test_everything_has_the_changed_audiences(sandbox: SandboxProcess) -> None:
    changed = sandbox.control.change_account(audiences=[VIP, {"name": "churned", "sizes": 3}])
    assert changed == sandbox.control.accounts()[0]
    assert (changed["name"], changed["timezone"]) == ("retail", "America/New_York")
    assert [audience["name"] for audience in changed["audiences"]] == ["vip", "churned"]
    assert export(sandbox, "retail-key", audiences=["gold"]).json()["message"] == "Audience 'gold' does not exist."
    job_id = export(sandbox, "retail-key", audiences=["vip", "churned"]).json()["jobId"]
    assert read_rows(sandbox, wait_for(sandbox, job_id)) == [
        ["audience", "2026-11-10", "2026-11-11"],
        ["vip", "5", "7"],
        ["churned", "3", "3"],
    ]
    snapshots = sandbox.control.snapshots(audience="vip", start="2026-11-11", end="2026-11-12")
    assert [one["contacts"] for one in snapshots] == [7, None]
    sandbox.control.clock(now="2026-11-12T12:00:00", stopped=True)
    assert call(sandbox, "POST", "/v2/audiencecount", "retail-key", json={"id": "a1"}).json() == {"count": 7}
    page = call(sandbox, "GET", "/audiences", "").text
    assert "churned" in page
    assert "newsletter" not in page
    assert export(sandbox, "wholesale-key", audiences=["opened_last_30_days"]).status_code == 200


def test_a_changed_time_zone_decides_which_days_are_over(sandbox: SandboxProcess) -> None:
    sandbox.control.clock(now="2026-11-12T04:00:00", stopped=True)
    sizes = {"audience": "gold", "start": "2026-11-10", "end": "2026-11-12"}
    assert [one["contacts"] for one in sandbox.control.snapshots(**sizes)] == [1200, None, None]
    assert sandbox.control.change_account(timezone="Asia/Tokyo")["timezone"] == "Asia/Tokyo"
    sandbox.control.clock(now="2026-11-12T15:30:00")
    assert [one["contacts"] for one in sandbox.control.snapshots(**sizes)] == [1200, None, 1215]


def test_a_reset_restores_the_account_of_the_start(sandbox: SandboxProcess) -> None:
    before = sandbox.control.accounts()
    wholesale = sandbox.control_of("wholesale")
    for control in (sandbox.control, wholesale):
        control.change_account(audiences=[VIP])
        control.change_account(timezone="Asia/Tokyo")
        assert [audience["id"] for audience in control.change_account()["audiences"]] == ["a1"]
    wholesale.reset()
    assert [account["timezone"] for account in sandbox.control.accounts()] == ["Asia/Tokyo", before[1]["timezone"]]
    sandbox.control.reset()
    assert sandbox.control.accounts() == before
    assert export(sandbox, "retail-key", audiences=["gold"]).status_code == 200


def test_an_audience_that_was_removed_meanwhile_has_no_snapshots(sandbox: SandboxProcess) -> None:
    sandbox.control.behaviour(job_stays_in="Processing")
    job_id = export(sandbox, "retail-key", audiences=["gold"]).json()["jobId"]
    sandbox.control.change_account(audiences=[])
    sandbox.control.behaviour(job_stays_in=None)
    assert read_rows(sandbox, wait_for(sandbox, job_id))[1] == ["gold", "", ""]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"audiences": [VIP, VIP]}, "audience 'vip' is listed twice"),
        ({"audiences": [VIP, {"name": "other", "id": "a1"}]}, "audience id 'a1' is listed twice"),
        ({"audiences": [{"name": ""}]}, "at least 1 character"),
        ({"audiences": [{"name": "a", "sizes": -1}]}, "greater than or equal to 0"),
        ({"audiences": [{"name": "a", "sizes": {"soon": 1}}]}, "date"),
        ({"audiences": [{"name": "a", "size": 1}]}, "Extra inputs"),
        ({"timezone": "Mars/Base"}, "unknown time zone 'Mars/Base'"),
        ({"keys": [{"key": "k"}]}, "Extra inputs"),
    ],
)
def test_an_invalid_change_is_rejected(sandbox: SandboxProcess, change: dict[str, Any], problem: str) -> None:
    before = sandbox.control.accounts()
    answer = requests.patch(f"{sandbox.url}/_sandbox/account", json=change, timeout=10)
    assert answer.status_code == 422
    assert problem in answer.text
    assert "retail-key" not in answer.text
    assert sandbox.control.accounts() == before


def test_a_change_survives_a_kill(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path / "data", job_seconds=0) as sandbox:
        sandbox.control.change_account(audiences=[VIP])
        sandbox.control.behaviour(job_stays_in="Pending")
        job_id = export(sandbox, sandbox.api_key, audiences=["vip"]).json()["jobId"]
        sandbox.kill()
        sandbox.start()
        sandbox.control.behaviour(job_stays_in=None)
        assert read_rows(sandbox, wait_for(sandbox, job_id))[1] == ["vip", "5", "7"]
        sandbox.control.reset()
        sandbox.kill()
        sandbox.start()
        assert "vip" not in [one["name"] for one in sandbox.control.accounts()[0]["audiences"] if one["analytics"]]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("accounts: [", "line 1"),
        ("accounts: []", "accounts: Tuple should have at least 1 item"),
        ("- 1", "file: Input should be a valid dictionary"),
        ("accounts: [{name: a, keys: []}]", "accounts.0.keys"),
        ("accounts: [{name: a, keys: [{key: 'secret:4711'}]}]", "accounts.0.keys.0.key"),
        ("accounts: [{name: a, keys: [{key: secret-4711}]}, {name: b, keys: [{key: secret-4711}]}]", "listed twice"),
        ("accounts: [{name: a, keys: [{key: k}], timezone: Mars/Base}]", "unknown time zone 'Mars/Base'"),
        ("accounts: [{name: a, keys: [{key: k, operations: [x]}]}]", "unknown operation 'x'"),
        ("accounts: [{name: a, keys: [{key: k, addresses: [x]}]}]", "accounts.0.keys.0.addresses.0"),
        ("accounts: [{name: a, keys: [{key: k}], audiences: [{name: x}, {name: x}]}]", "audience 'x' is listed twice"),
        ("accounts: [{name: a, keys: [{key: k}], audiences: [{name: x, sizes: {2026-13-01: 1}}]}]", "with valid dates"),
        ("accounts: [{name: a, keys: [{key: k}], audiences: [{name: x, sizes: {2026-01-01: -1}}]}]", "sizes"),
        ("accounts: [{name: a, keys: [{key: k}], colour: red}]", "accounts.0.colour"),
    ],
)
def test_a_bad_seed_is_an_error_before_anything_starts(tmp_path: Path, content: str, problem: str) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text(content)
    with pytest.raises(ValueError, match="Invalid seed file") as caught:
        read_seed(seed)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_command_line_reports_a_bad_seed_and_writes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = [sys.executable, "-m", "cordial_sandbox", "serve", "--data", str(data), "--seed", str(tmp_path / "none")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert "No such file or directory" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not data.exists()
