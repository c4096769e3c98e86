"""Test the options for what Cordial leaves open: ids, times, empty members, page size, compression, and parts."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.accounts import default_accounts
from cordial_sandbox.delivery import DeliveredFile
from cordial_sandbox.exports import KINDS, Content, Rendered, parse_request
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.settings import Behaviour
from tests.helpers.sandbox import export_body, sftp_destination

DAYS = {"selected_timeframe_start": "2026-11-01T00:00:00Z", "selected_timeframe_end": "2026-11-02T00:00:00Z"}


def send(sandbox: SandboxProcess, method: str, path: str, **options: Any) -> Any:
    answer = requests.request(method, f"{sandbox.url}/v2/{path}", auth=(sandbox.api_key, ""), timeout=10, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def submit(sandbox: SandboxProcess, kind: str = "audiencetrendsexport", **body: Any) -> Any:
    return send(sandbox, "POST", kind, json=body or export_body())


def settle(sandbox: SandboxProcess) -> dict[str, Any]:
    """Return the newest job once its file is delivered."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        job = sandbox.control.jobs()[0]
        if job["delivered_to"]:
            return job
        assert job["reason"] is None
        time.sleep(0.02)
    pytest.fail("the job did not end")


def files(sandbox: SandboxProcess, job: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a job on the Jobs page."""
    folder = Path(sandbox.data, job["delivered_to"]).parent
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("member", ["jobId", "jobID", "_id", "id", None])
def test_the_id_in_the_answer_has_any_name(cordial_sandbox: SandboxProcess, member: str | None) -> None:
    cordial_sandbox.control.behaviour(answer_id=member)
    answer = submit(cordial_sandbox)
    (job,) = cordial_sandbox.control.jobs()
    assert answer == ({} if member is None else {member: job["id"]})


@pytest.mark.parametrize("member", ["_id", "id", "jobId", "jobID", None])
def test_the_id_in_a_record_has_any_name(cordial_sandbox: SandboxProcess, member: str | None) -> None:
    cordial_sandbox.control.behaviour(record_id=member)
    job_id = submit(cordial_sandbox)["jobId"]
    for record in (send(cordial_sandbox, "GET", f"jobs/{job_id}"), *send(cordial_sandbox, "GET", "jobs")):
        assert {name: value for name, value in record.items() if value == job_id} == (
            {member: job_id} if member else {}
        )
    if member:
        assert send(cordial_sandbox, "GET", f"jobs/{job_id}?fields={member}") == {member: job_id}


@pytest.mark.parametrize(
    ("form", "ending"),
    [("+0000", "+0000"), ("+00:00", "+00:00"), ("Z", "Z"), ("milliseconds", ".000Z"), ("no_offset", "")],
)
def test_the_times_of_a_record_have_any_form(cordial_sandbox: SandboxProcess, form: str, ending: str) -> None:
    cordial_sandbox.control.clock(now="2026-11-12T12:00:00", stopped=True)
    cordial_sandbox.control.behaviour(record_times=form, job_seconds=0)
    submit(cordial_sandbox)
    job = settle(cordial_sandbox)
    times = send(cordial_sandbox, "GET", f"jobs/{job['id']}")["times"]
    assert times == dict.fromkeys(("start", "end"), f"2026-11-12T12:00:00{ending}")
    assert datetime.fromisoformat(times["end"]).utcoffset() in (timedelta(0), None)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("null", {"totalItems": None, "completedItems": None, "times": {"start": None, "end": None}, "result": None}),
        ("absent", {}),
        ("list", {"totalItems": None, "completedItems": None, "times": {"start": None, "end": None}, "result": []}),
    ],
)
def test_empty_members_are_null_or_absent(cordial_sandbox: SandboxProcess, form: str, expected: Any) -> None:
    cordial_sandbox.control.behaviour(empty_members=form, job_stays_in="Scheduled")
    job_id = submit(cordial_sandbox)["jobId"]
    record = send(cordial_sandbox, "GET", f"jobs/{job_id}")
    others = {"_id", "status", "jobName", "metadata"}
    assert {name: value for name, value in record.items() if name not in others} == expected
    cordial_sandbox.control.behaviour(job_stays_in=None, job_seconds=0)
    settle(cordial_sandbox)
    record = send(cordial_sandbox, "GET", f"jobs/{job_id}")
    assert (record["totalItems"], record["completedItems"], set(record["times"])) == (1, 1, {"start", "end"})


def test_a_page_has_25_jobs_by_default(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.add_jobs(30, shortest=1000, longest=1000)
    assert len(send(cordial_sandbox, "GET", "jobs")) == 25
    cordial_sandbox.control.behaviour(default_per_page=10)
    assert [len(send(cordial_sandbox, "GET", f"jobs?page={page}")) for page in (1, 3, 4)] == [10, 10, 0]
    assert len(send(cordial_sandbox, "GET", "jobs?per_page=30")) == 30


@pytest.mark.parametrize(
    ("kind", "body", "limit", "records"),
    [
        ("contactactivityexport", {"exportType": "csv"}, 10, [10, 10, 5]),
        ("contactactivityexport", {"exportType": "json", "compress": True}, 24, [24, 1]),
        ("messageanalyticsexport", {}, 2, [2, 2, 1]),
        ("accountmonitorexport", {}, 3, [3, 1]),
        ("accountmonitorexport", {}, 4, [4]),
        ("accountmonitorexport", {}, 0, [4]),
    ],
)
def test_a_limit_of_records_makes_several_files(
    cordial_sandbox: SandboxProcess, kind: str, body: dict[str, Any], limit: int, records: list[int]
) -> None:
    shared = {"name": "n", "destination": {"type": "aws"}, **DAYS, "showHeader": True, "limitRecordsPerFile": limit}
    if kind == "accountmonitorexport":
        del shared["showHeader"]
    submit(cordial_sandbox, kind, **shared, **body)
    found = files(cordial_sandbox, settle(cordial_sandbox))
    json_type = kind == "accountmonitorexport" or body.get("exportType") == "json"
    ending = (".json" if json_type else ".csv") + (".gz" if body.get("compress") else "")
    numbers = [""] if len(records) == 1 else [f"-{number}" for number in range(1, len(records) + 1)]
    assert list(found) == [f"n{number}{ending}" for number in numbers]
    lines = [(gzip.decompress(content) if body.get("compress") else content).splitlines() for content in found.values()]
    # Every file has the header.
    assert [len(each) - (not json_type) for each in lines] == records
    if json_type:
        assert all(json.loads(line) for each in lines for line in each)


def test_contact_exports_document_no_limit_of_records(cordial_sandbox: SandboxProcess) -> None:
    body = {"name": "n", "destination": {"type": "aws"}, "fields": ["email"], "limitRecordsPerFile": 10}
    url = f"{cordial_sandbox.url}/v2/contactexports"
    answer = requests.post(url, json=body, auth=(cordial_sandbox.api_key, ""), timeout=10)
    assert (answer.status_code, answer.json()["message"]) == (400, "Field 'limitRecordsPerFile' is not known.")


def test_trends_are_delivered_compressed_and_in_parts(cordial_sandbox: SandboxProcess) -> None:
    names = ["opened_last_30_days", 'Käufer, "Gold"', "opened_last_30_days"]
    cordial_sandbox.control.behaviour(csv_gzip=True, csv_parts=2, part_suffix=".part{number}-of-{total}")
    destination = sftp_destination(cordial_sandbox)
    submit(cordial_sandbox, **export_body(audiences=names[:2], destination=destination))
    assert settle(cordial_sandbox)["delivered_to"] == "exports/trends-1.part1-of-2.csv.gz"
    folder = cordial_sandbox.sftp.root / "exports"
    found = {path.name: gzip.decompress(path.read_bytes()).decode().splitlines() for path in folder.iterdir()}
    assert set(found) == {"trends-1.part1-of-2.csv.gz", "trends-1.part2-of-2.csv.gz"}
    first, second = (found[name] for name in sorted(found))
    assert first[0] == second[0] == "audience,2026-11-10,2026-11-11"
    assert (len(first), len(second)) == (2, 2)


@pytest.mark.parametrize(
    ("behaviour", "audiences", "expected"),
    [
        ({"csv_parts": 3}, 4, [1, 1, 2]),
        ({"csv_parts": 9}, 2, [1, 1]),
        ({"csv_parts": 3, "csv_override": "audience\na\n"}, 4, [1]),
    ],
)
def test_trends_have_as_many_parts_as_configured(
    behaviour: dict[str, Any], audiences: int, expected: list[int]
) -> None:
    (account,) = default_accounts("key")
    names = [audience.name for audience in account.audiences][:audiences]
    request = parse_request(
        KINDS["audiencetrendsexport"], export_body(audiences=names), account, saved_key_exists=lambda _: False
    )
    content = Content(account, Behaviour.model_validate(behaviour), date(2026, 12, 1))
    parts = KINDS["audiencetrendsexport"].render(request.request, content).parts
    assert [part.count(b"\n") - 1 for part in parts] == expected


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("folder", ["folder/n-1.csv", "folder/n-2.csv"]),
        ("folder/other.csv", ["folder/other-1.csv", "folder/other-2.csv"]),
    ],
)
def test_parts_have_keys_of_their_own(path: str, keys: list[str]) -> None:
    file = DeliveredFile("n.csv", Rendered((b"1", b"2"), "-{number}"), "j1")
    assert [part.key_under(path) for part in file.parts()] == keys


@pytest.mark.parametrize(
    "change",
    [
        {"answer_id": "job"},
        {"record_id": "ID"},
        {"record_times": "epoch"},
        {"empty_members": "no"},
        {"default_per_page": 0},
        {"csv_parts": 0},
        {"part_suffix": "x"},
        {"part_suffix": "/{number}"},
        {"part_suffix": "{number}{name}"},
    ],
)
def test_invalid_options_are_rejected(cordial_sandbox: SandboxProcess, change: dict[str, Any]) -> None:
    before = cordial_sandbox.control.behaviour()
    with pytest.raises(ValueError, match="422"):
        cordial_sandbox.control.behaviour(**change)
    assert cordial_sandbox.control.behaviour() == before
