"""Test the exports of every kind, the audience count, and the contract."""

from __future__ import annotations

import csv
import gzip
import json
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import requests

from cordial_sandbox.accounts import default_accounts
from cordial_sandbox.exports import KINDS, Content, parse_request
from cordial_sandbox.operations import EXPORTS, OPERATIONS
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.settings import Behaviour
from tests.helpers.sandbox import export_body, sftp_destination

Call = Callable[..., requests.Response]

DAYS = {"selected_timeframe_start": "2026-11-01T00:00:00.000Z", "selected_timeframe_end": "2026-11-02T00:00:00Z"}
UI = {"destination": {"type": "aws"}}
BODIES: dict[str, dict[str, Any]] = {
    "audiencetrendsexport": export_body(),
    "contactexports": {**UI, "name": "all", "fields": ["email", "nothing"], "showHeader": True},
    "contactactivityexport": {**UI, **DAYS, "name": "activity", "exportType": "csv", "showHeader": True},
    "messageanalyticsexport": {**UI, **DAYS, "name": "a report", "fileName": "march_batch", "showHeader": True},
    "accountmonitorexport": {**UI, **DAYS, "name": "logs"},
}
JOB_NAMES = {
    "audiencetrendsexport": "SandboxAudienceTrendsExport",
    "contactexports": "ExportContacts",
    "contactactivityexport": "ExportEvents",
    "messageanalyticsexport": "ExportMessageAnalytics",
    "accountmonitorexport": "ExportClientsLogs",
}


@pytest.fixture
def call(cordial_sandbox: SandboxProcess) -> Call:
    def send(method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("auth", (cordial_sandbox.api_key, ""))
        return requests.request(method, cordial_sandbox.url + path, timeout=10, **options)

    return send


def deliver(sandbox: SandboxProcess, call: Call, kind: str, **changes: Any) -> tuple[str, bytes]:
    """Export and return the name and the content of the file on the Jobs page."""
    response = call("POST", f"/v2/{kind}", json={**BODIES[kind], **changes})
    assert response.status_code == 200, response.text
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        job = sandbox.control.job(response.json()["jobId"])
        if job["status"] in ("Done", "Failed"):
            assert job["reason"] is None
            path = sandbox.data / job["delivered_to"]
            return path.name, path.read_bytes()
        time.sleep(0.02)
    pytest.fail("the job did not end")


def test_every_kind_is_registered_under_its_operation() -> None:
    assert tuple(KINDS) == tuple(kind.path for kind in KINDS.values())
    assert set(KINDS) == set(EXPORTS) == set(BODIES)


@pytest.mark.parametrize("kind", EXPORTS)
def test_every_kind_of_export_is_delivered_over_sftp(cordial_sandbox: SandboxProcess, call: Call, kind: str) -> None:
    body = {**BODIES[kind], "destination": sftp_destination(cordial_sandbox)}
    job_id = call("POST", f"/v2/{kind}", json=body).json()["jobId"]
    deadline = time.monotonic() + 20
    while call("GET", f"/v2/jobs/{job_id}").json()["status"] != "Done":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (file,) = (cordial_sandbox.sftp.root / "exports").iterdir()
    assert file.stat().st_size > 0
    assert call("GET", f"/v2/jobs/{job_id}").json()["jobName"] == JOB_NAMES[kind]
    assert [job["_id"] for job in call("GET", f"/v2/jobs?jobName={JOB_NAMES[kind]}").json()] == [job_id]
    assert call("GET", "/v2/jobs?jobName=ImportContacts").json() == []


def test_contacts_have_the_fields_of_the_request(cordial_sandbox: SandboxProcess, call: Call) -> None:
    name, content = deliver(cordial_sandbox, call, "contactexports")
    header, first, *_ = csv.reader(content.decode().splitlines())
    assert (name, header, first) == ("all.csv", ["email", "nothing"], ["contact1@example.com", ""])
    _, content = deliver(cordial_sandbox, call, "contactexports", exportType="txt", delimiter="|", showHeader=False)
    assert content.startswith(b"contact1@example.com|\n")


@pytest.mark.parametrize("kind", ["contactexports", "contactactivityexport", "messageanalyticsexport"])
def test_records_are_delivered_as_json_and_compressed(cordial_sandbox: SandboxProcess, call: Call, kind: str) -> None:
    name, content = deliver(cordial_sandbox, call, kind, exportType="json", compress=True)
    assert name.endswith(".json.gz")
    assert all(json.loads(line) for line in gzip.decompress(content).splitlines())


def test_message_analytics_take_the_file_name_and_labels(cordial_sandbox: SandboxProcess, call: Call) -> None:
    columns = [{"name": "sent", "label": "Sent"}]
    name, content = deliver(
        cordial_sandbox, call, "messageanalyticsexport", columnHeaders=columns, includeTotalsRow=True
    )
    assert (name, content.splitlines()[0], content.splitlines()[-1]) == ("march_batch.csv", b"Sent", b"15000")


def test_account_monitor_is_json(cordial_sandbox: SandboxProcess, call: Call) -> None:
    name, content = deliver(cordial_sandbox, call, "accountmonitorexport", selected_level="Error")
    assert name == "logs.json"
    assert [json.loads(line)["level"] for line in content.splitlines()] == ["Error"]


TWO_FILTERS = "Please use only one from existing filters 'selected_action_name' OR 'selected_action_names'"


@pytest.mark.parametrize(
    ("kind", "changes", "status", "message"),
    [
        ("contactexports", {"destination": None}, 400, "The destination.type field is required."),
        ("contactexports", {"exportType": "xml"}, 400, "The selected export type is invalid."),
        ("contactexports", {"audience-key": "string"}, 400, "Audience with name: 'string' does not exist."),
        ("contactexports", {"fields": "email"}, 400, "The fields must be of the type strings."),
        ("contactexports", {"delimiter": "ab"}, 400, "The delimiter must be one character."),
        ("contactactivityexport", {"confirmEmail": "x"}, 400, "The confirm email must be a valid email address."),
        ("contactactivityexport", {"selected_action_name": "a", "selected_action_names": ["b"]}, 406, TWO_FILTERS),
        ("contactactivityexport", {"sendType": "fax"}, 406, "The selected sendType is invalid."),
        (
            "contactactivityexport",
            {"limitRecordsPerFile": -1},
            400,
            "The limitRecordsPerFile must be of the type count.",
        ),
        (
            "contactactivityexport",
            {"selected_timeframe_end": "2026-10-01T00:00:00Z"},
            406,
            "'selected_timeframe_end' cannot be in past in comparison with 'selected_timeframe_start'",
        ),
        ("messageanalyticsexport", {"name": ""}, 400, "Field 'name' should be provided."),
        ("messageanalyticsexport", {"viewMode": "x"}, 400, "The selected viewMode is invalid."),
        ("messageanalyticsexport", {"fileName": "../x"}, 400, "The fileName is invalid."),
        ("accountmonitorexport", {"selected_level": "Loud"}, 400, "The selected selected_level is invalid."),
        ("accountmonitorexport", {"exportType": "csv"}, 400, "The selected export type is invalid."),
        (
            "accountmonitorexport",
            {"selected_timeframe_end": "x"},
            400,
            "The 'selected_timeframe_end' is invalid. ISO-8601 is a recommended format.",
        ),
    ],
)
def test_invalid_bodies_of_every_kind_are_rejected(
    call: Call, kind: str, changes: dict[str, Any], status: int, message: str
) -> None:
    response = call("POST", f"/v2/{kind}", json={**BODIES[kind], **changes})
    assert (response.status_code, response.json()["message"]) == (status, message)
    assert response.json()["errorKey"] == "GENERIC_ERROR_KEY"


def test_a_form_is_accepted_as_json_is(cordial_sandbox: SandboxProcess, call: Call) -> None:
    form = {
        "name": "form",
        "exportType": "csv",
        "destination[type]": "aws",
        "selected_timeframe_start": "2026-11-10",
        "selected_timeframe_end": "2026-11-11",
        "audiences[]": ["opened_last_30_days", 'Käufer, "Gold"'],
    }
    assert call("POST", "/v2/audiencetrendsexport", data=form).status_code == 200
    assert cordial_sandbox.control.jobs()[0]["audiences"] == form["audiences[]"]


@pytest.mark.parametrize("data", ["a[=1", "a=1&a[b]=2", "%ff=1", "a[][]=1", "=1"])
def test_invalid_forms_are_rejected(call: Call, data: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = call("POST", "/v2/audiencetrendsexport", data=data, headers=headers)
    assert (response.status_code, response.json()["errorKey"]) == (400, "INVALID_JSON_PROVIDED")


def test_an_audience_is_counted_by_its_id(cordial_sandbox: SandboxProcess, call: Call) -> None:
    cordial_sandbox.control.clock(now="2026-11-12T12:00:00", stopped=True)
    (account,) = cordial_sandbox.control.accounts()
    audience = next(one for one in account["audiences"] if one["name"] == "opened_last_30_days")
    (newest,) = cordial_sandbox.control.snapshots(audience=audience["name"], start="2026-11-11", end="2026-11-11")
    assert call("POST", "/v2/audiencecount", json={"id": audience["id"]}).json() == {"count": newest["contacts"]}
    bodies: tuple[Any, ...] = ({}, {"id": "opened_last_30_days"}, {"id": 5}, [])
    for body in bodies:
        response = call("POST", "/v2/audiencecount", json=body)
        assert (response.status_code, response.json()["errorKey"]) == (422, "INVALID_AUDIENCE_RULES")


def test_the_contract_is_served_and_has_every_operation(call: Call) -> None:
    contract = call("GET", "/openapi.json", auth=None).json()
    assert call("GET", "/v2/openapi.json", auth=None).json() == contract
    assert contract["openapi"] == "3.1.0"
    paths = {path.removeprefix("/v2/") for path in contract["paths"]}
    assert paths == {*EXPORTS, "audiencecount", "jobs", "jobs/{id}"}
    assert len(paths) == len(OPERATIONS)


def test_a_file_has_no_day_that_its_job_misses() -> None:
    (account,) = default_accounts("key")
    kind = KINDS["audiencetrendsexport"]
    request = parse_request(kind, export_body(), account, saved_key_exists=lambda _: False)
    content = Content(account, Behaviour(job_seconds=0), date(2026, 12, 1), frozenset({date(2026, 11, 10)}))
    _, row = kind.render(request.request, content).parts[0].decode().splitlines()
    assert [bool(cell) for cell in row.split(",")] == [True, False, True]
