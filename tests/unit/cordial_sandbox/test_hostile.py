"""Test requests that no client sends by accident."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
import requests

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body, sftp_destination, wait_until_settled

Call = Callable[..., requests.Response]

TRENDS = "/v2/audiencetrendsexport"


@pytest.fixture
def call(cordial_sandbox: SandboxProcess) -> Call:
    def send(method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("auth", (cordial_sandbox.api_key, ""))
        return requests.request(method, cordial_sandbox.url + path, timeout=20, **options)

    return send


@pytest.fixture(autouse=True)
def _survives(cordial_sandbox: SandboxProcess) -> Iterator[None]:
    """Check that the sandbox has neither crashed nor logged an error once a test has ended."""
    before = len(cordial_sandbox.log.read_bytes())
    yield
    assert cordial_sandbox.is_running
    assert requests.get(f"{cordial_sandbox.url}/_sandbox/health", timeout=10).json() == {"status": "ok"}
    assert b"Traceback" not in cordial_sandbox.log.read_bytes()[before:]


def connect(sandbox: SandboxProcess) -> socket.socket:
    address = urlsplit(sandbox.url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def exchange(sandbox: SandboxProcess, request: bytes) -> bytes:
    """Send bytes and return the answer until the sandbox closes the connection."""
    with connect(sandbox) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def head(sandbox: SandboxProcess, *headers: str, method: str = "POST", path: str = TRENDS) -> bytes:
    key = base64.b64encode(f"{sandbox.api_key}:".encode()).decode()
    host = urlsplit(sandbox.url).netloc
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Authorization: Basic {key}", "Connection: close"]
    return "\r\n".join([*lines, "Content-Type: application/json", *headers, "", ""]).encode()


# Text that cannot be encoded.


@pytest.mark.parametrize(
    "data",
    [
        '{"destination": {"type": "aws", "path": "\\ud800"}}',
        '{"\\udfff": 1}',
        '{"name": ["\\ud800"]}',
        '{"n": NaN}',
        '{"n": -Infinity}',
        b"\xff\xfe",
        b"",
        '{"a": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_text_that_is_not_json_is_rejected(cordial_sandbox: SandboxProcess, call: Call, data: str | bytes) -> None:
    response = call("POST", TRENDS, data=data, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["errorKey"]) == (400, "INVALID_JSON_PROVIDED")
    assert cordial_sandbox.control.jobs() == []


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("PATCH", "/_sandbox/behaviour", '{"csv_override": "\\ud800"}'),
        ("PATCH", "/_sandbox/behaviour", '{"\\ud800": 1}'),
        ("PATCH", "/_sandbox/behaviour", '{"job_name": "\\ud800"}'),
        ("POST", "/_sandbox/faults", '{"effect": "answer", "body": "\\ud800"}'),
        ("POST", "/_sandbox/faults", '{"effect": "\\ud800"}'),
        ("POST", "/_sandbox/fates", '{"fails_with": "\\ud800"}'),
        ("POST", "/_sandbox/jobs", '{"count": 1, "shortest": NaN, "longest": 1}'),
        ("PATCH", "/_sandbox/clock", '{"move": Infinity}'),
        ("POST", "/_sandbox/faults", "[" * 100_000),
    ],
)
def test_the_control_api_rejects_it_too_and_survives(
    cordial_sandbox: SandboxProcess, method: str, path: str, data: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = requests.request(method, cordial_sandbox.url + path, data=data, headers=headers, timeout=10)
    assert response.status_code in (400, 422), response.text
    assert cordial_sandbox.control.behaviour()
    assert cordial_sandbox.control.faults() == cordial_sandbox.control.fates() == []


# Parameters.


@pytest.mark.parametrize(
    "query",
    [
        "include=x",
        "include=",
        "satus=Done",
        "times[start]=1",
        "status=AAA",
        "status=",
        "page=x",
        "per_page=0",
        "page=%00",
        "page=1e3",
    ],
)
def test_unknown_values_of_the_list_are_rejected(call: Call, query: str) -> None:
    response = call("GET", f"/v2/jobs?{query}")
    assert (response.status_code, response.json()["errorKey"]) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize("query", ["include=x", "status=Done", "fields=__main__", "fields=status,x"])
def test_unknown_values_of_a_job_are_rejected(call: Call, query: str) -> None:
    job_id = call("POST", TRENDS, json=export_body()).json()["jobId"]
    assert call("GET", f"/v2/jobs/{job_id}?include=statistic").status_code == 200
    response = call("GET", f"/v2/jobs/{job_id}?{query}")
    assert (response.status_code, response.json()["errorKey"]) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("2020-01-01T00:00:00Z", 200),
        ("2020-01-01t00:00:00.123456789z", 200),
        ("2020-01-01T00:00:00%2B02:00", 200),
        ("2020-01-01T00:00:00+02:00", 200),  # a space to the server
        ("2020-01-01T00:00:00+0000", 200),
        ("01-01-2020", 200),
        ("2020-01-01", 200),
        ("2020-02-30T00:00:00Z", 422),
        ("0001-01-01T00:00:00%2B23:59", 200),
        ("99999-01-01", 422),
        ("", 422),
    ],
)
def test_times_in_rfc_3339_filter_the_list(call: Call, text: str, status: int) -> None:
    job_id = call("POST", TRENDS, json=export_body()).json()["jobId"]
    while call("GET", f"/v2/jobs/{job_id}").json()["status"] != "Done":
        time.sleep(0.02)
    response = call("GET", f"/v2/jobs?times[start][gt]={text}")
    assert response.status_code == status, response.text
    if status == 200:
        assert [job["_id"] for job in response.json()] == [job_id]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "n" * 201}, "Field 'name' may not be longer than 200 bytes."),
        ({"audiences": ["opened_last_30_days"] * 1001}, "The export may have at most 1000 audiences."),
        (
            {"selected_timeframe_start": "0001-01-01", "audiences": ["opened_last_30_days"] * 100},
            "The export may have at most 3000000 audiences times days.",
        ),
    ],
)
def test_exports_have_bounds(call: Call, changes: dict[str, Any], message: str) -> None:
    response = call("POST", TRENDS, json=export_body(**changes))
    assert (response.status_code, response.json()["message"]) == (406, message)


@pytest.mark.parametrize("name", ["a\n", "\uff41", "a/b", "..", "a b", 5, ["a"], {"a": 1}])
def test_names_are_letters_numbers_and_dashes(call: Call, name: Any) -> None:
    assert call("POST", TRENDS, json=export_body(name=name)).status_code == 406


# Deliveries that cannot succeed.


@pytest.mark.parametrize(
    "destination",
    [
        {"type": "s3", "aws_bucket": "b", "aws_region": "no region!", "path": "p"},
        {"type": "s3", "aws_bucket": "b/../c", "aws_region": "us-west-2", "path": "p"},
        {"type": "s3", "aws_bucket": "b" * 300, "aws_region": "us-west-2\r\nX: y", "path": "p"},
        {"type": "ftp", "server": "a" * 300, "username": "u", "password": "p", "path": "x"},
        {"type": "ftp", "server": "a..b", "username": "u", "password": "p", "path": "x"},
        {"type": "ftp", "server": "\x00", "username": "u", "password": "p", "path": "x"},
        {"type": "sftp", "server": "a" * 300, "username": "u", "password": "p", "path": "x"},
        {"type": "sftp", "server": "a..b", "username": "u", "password": "p", "path": "x"},
        {"type": "sftp", "server": "\x00", "username": "u", "password": "p", "path": "x"},
        {"type": "gcs", "gcs_bucket": "NO BUCKET", "path": "p"},
        {"type": "gcs", "gcs_bucket": "b" * 300, "path": "\x00"},
        {"type": "azureblob", "account": "\x00", "container": "NO", "path": "p"},
    ],
)
def test_impossible_destinations_fail_with_a_reason(
    cordial_sandbox: SandboxProcess, call: Call, destination: dict[str, Any]
) -> None:
    job = wait_until_settled(
        cordial_sandbox, call("POST", TRENDS, json=export_body(destination=destination)).json()["jobId"]
    )
    assert job["status"] == "Failed"
    assert "Internal error" not in job["reason"]


@pytest.mark.parametrize("type_", ["sftp", "aws"])
def test_a_file_name_that_is_too_long_fails_with_a_reason(
    cordial_sandbox: SandboxProcess, call: Call, type_: str
) -> None:
    cordial_sandbox.control.behaviour(file_name="{name}" + "x" * 100 + ".csv")
    destination = sftp_destination(cordial_sandbox) if type_ == "sftp" else {"type": "aws"}
    body = export_body(name="n" * 200, destination=destination)
    job = wait_until_settled(cordial_sandbox, call("POST", TRENDS, json=body).json()["jobId"])
    assert job["status"] == "Failed"
    assert "Internal error" not in job["reason"]


@pytest.mark.parametrize("path", ["\x00", "x" * 5000, "exports/../../.."])
def test_odd_paths_end_the_job(cordial_sandbox: SandboxProcess, call: Call, path: str) -> None:
    body = export_body(destination=sftp_destination(cordial_sandbox, path=path))
    job = wait_until_settled(cordial_sandbox, call("POST", TRENDS, json=body).json()["jobId"])
    assert "Internal error" not in (job["reason"] or "")
    assert not (cordial_sandbox.data / "trends-1.csv").exists()
    assert not (cordial_sandbox.data.parent / "trends-1.csv").exists()


# HTTP.


@pytest.mark.parametrize("path", [TRENDS, "/_sandbox/behaviour"])
def test_a_huge_body_is_refused_before_it_is_sent(cordial_sandbox: SandboxProcess, path: str) -> None:
    method = "PATCH" if path.startswith("/_") else "POST"
    started = time.monotonic()
    answer = exchange(cordial_sandbox, head(cordial_sandbox, "Content-Length: 100000000", method=method, path=path))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - started < 5
    assert cordial_sandbox.control.jobs() == []


@pytest.mark.parametrize("path", [TRENDS, "/_sandbox/behaviour"])
def test_a_huge_body_in_chunks_is_refused(cordial_sandbox: SandboxProcess, path: str) -> None:
    method = "PATCH" if path.startswith("/_") else "POST"
    # One byte more than the limit: the sandbox has read everything when it closes the connection, which would be
    # reset otherwise, before the answer is read.
    sizes = [50_000] * 20 + [1]
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, b" " * size) for size in sizes)
    request = head(cordial_sandbox, "Transfer-Encoding: chunked", method=method, path=path) + chunks
    assert exchange(cordial_sandbox, request).startswith(b"HTTP/1.1 413 ")


def test_a_body_of_100_megabytes_is_not_kept(cordial_sandbox: SandboxProcess) -> None:
    process = cordial_sandbox._process
    assert process is not None
    memory = psutil.Process(process.pid).memory_info
    before, chunk = memory().rss, b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    sent = 0
    with connect(cordial_sandbox) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(head(cordial_sandbox, "Transfer-Encoding: chunked"))
        for _ in range(100):
            connection.sendall(chunk)
            sent += len(chunk)
    # The sandbox closes the connection, of which the system may hold some megabytes.
    assert sent < 50 * 2**20
    assert memory().rss - before < 20 * 2**20
    assert cordial_sandbox.control.jobs() == []


@pytest.mark.parametrize(
    "rest",
    [
        b"zz\r\nx\r\n0\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\nx\r\n",
    ],
)
def test_bad_chunks_are_refused(cordial_sandbox: SandboxProcess, rest: bytes) -> None:
    answer = exchange(cordial_sandbox, head(cordial_sandbox, "Transfer-Encoding: chunked") + rest)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert cordial_sandbox.control.jobs() == []


def test_an_interrupted_body_creates_no_job(cordial_sandbox: SandboxProcess) -> None:
    body = json.dumps(export_body()).encode()
    with connect(cordial_sandbox) as connection:
        connection.sendall(head(cordial_sandbox, f"Content-Length: {len(body)}") + body[:-1])
    time.sleep(0.2)
    assert cordial_sandbox.control.jobs() == []


def test_pipelined_requests_are_answered_in_their_order(cordial_sandbox: SandboxProcess) -> None:
    keep = head(cordial_sandbox, method="GET", path="/v2/jobs").replace(b"Connection: close\r\n", b"")
    missing = keep.replace(b"/v2/jobs", b"/v2/jobs/nothing")
    answer = exchange(cordial_sandbox, keep + missing + keep + head(cordial_sandbox, method="GET", path="/v2/jobs"))
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"404", b"200", b"200"]


def test_nothing_after_a_refused_body_is_taken_as_a_request(cordial_sandbox: SandboxProcess) -> None:
    body = json.dumps(export_body()).encode()
    second = head(cordial_sandbox, f"Content-Length: {len(body)}") + body
    for refused in (
        head(cordial_sandbox, "Content-Length: 100000000"),
        head(cordial_sandbox, "Transfer-Encoding: chunked") + b"zz\r\n",
        head(cordial_sandbox, "Content-Length: x"),
        head(cordial_sandbox, "Content-Length: 1", "Content-Length: 2") + b"x",
    ):
        answer = exchange(cordial_sandbox, refused.replace(b"Connection: close\r\n", b"") + second)
        assert re.findall(rb"HTTP/1.1 (\d+) ", answer)[:1] in ([b"400"], [b"413"]), refused
        assert cordial_sandbox.control.jobs() == [], refused


def test_slow_clients_delay_nobody_else(cordial_sandbox: SandboxProcess) -> None:
    request = head(cordial_sandbox, "Content-Length: 1000") + b"{"
    with contextlib.ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(connect(cordial_sandbox))
            # In the middle of the head, or of the body.
            connection.sendall(request if number % 2 else request[: number % 150 + 1])
        started = time.monotonic()
        for _ in range(20):
            assert cordial_sandbox.control.jobs() == []
        assert time.monotonic() - started < 5
    assert cordial_sandbox.control.jobs() == []


def test_a_client_that_does_not_read_its_answers_delays_nobody_else(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.add_jobs(1000, shortest=1000, longest=1000)
    request = head(cordial_sandbox, method="GET", path="/v2/jobs?per_page=1000")
    with connect(cordial_sandbox) as connection:
        connection.sendall(request.replace(b"Connection: close\r\n", b"") * 50)
        time.sleep(0.2)
        started = time.monotonic()
        assert len(cordial_sandbox.control.jobs()) == 1000
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "path",
    [
        "/v2/jobs/../../sandbox.json",
        "/v2/jobs/%2e%2e%2f%2e%2e%2fsandbox.json",
        "/v2/jobs/..%2fsandbox.json",
        "/v2/../_sandbox/requests",
        "/v2/%2e%2e/_sandbox/requests",
        "/jobs/..%2f..%2fsandbox.json",
        "/openapi.json/../sandbox.json",
        "/v2/jobs/%00",
        "/v2/jobs/%ff",
    ],
)
def test_paths_lead_nowhere_else(cordial_sandbox: SandboxProcess, path: str) -> None:
    answer = exchange(cordial_sandbox, head(cordial_sandbox, method="GET", path=path))
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert cordial_sandbox.sftp.password.encode() not in answer


@pytest.mark.parametrize(
    "headers",
    [{"Host": "attacker.example"}, {"Origin": "http://attacker.example"}, {"Origin": "null"}, {"Host": ""}],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/_sandbox/reset"), ("GET", "/_sandbox/accounts"), ("DELETE", "/_sandbox/clock")]
)
def test_other_web_pages_reach_nothing(
    cordial_sandbox: SandboxProcess, headers: dict[str, str], method: str, path: str
) -> None:
    cordial_sandbox.control.add_jobs(1, shortest=100, longest=100)
    response = requests.request(method, cordial_sandbox.url + path, headers=headers, timeout=5)
    assert response.status_code == 403
    assert len(cordial_sandbox.control.jobs()) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GET"])
def test_other_methods_are_not_allowed(call: Call, method: str) -> None:
    response = call(method, TRENDS)
    assert response.status_code == 405
    assert response.json()["error"] is True
    assert response.headers["Allow"] == "POST"


def test_an_unknown_path_of_the_api_has_the_error_of_the_api(call: Call) -> None:
    response = call("POST", "/v2/nothing", json={})
    assert (response.status_code, response.json()["error"]) == (404, True)


@pytest.mark.parametrize(
    "header", ["Basic \xff", "Basic " + "A" * 60_000, "Basic Og==", "basic", "Basic =", "x" * 30_000]
)
def test_odd_credentials_are_refused(cordial_sandbox: SandboxProcess, header: str) -> None:
    address = urlsplit(cordial_sandbox.url).netloc
    lines = ["GET /v2/jobs HTTP/1.1", f"Host: {address}", f"Authorization: {header}", "Connection: close", "", ""]
    answer = exchange(cordial_sandbox, "\r\n".join(lines).encode("latin-1"))
    assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert cordial_sandbox.control.behaviour()


def test_sandbox_stops_while_a_delivery_waits_for_a_silent_server(tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, SandboxProcess(tmp_path, job_seconds=0) as sandbox:
        destination = {
            "type": "ftp",
            "server": "127.0.0.1",
            "port": silent.getsockname()[1],
            "username": "u",
            "password": "p",
            "path": "x",
        }
        body = export_body(destination=destination)
        job_id = requests.post(sandbox.url + TRENDS, json=body, auth=(sandbox.api_key, ""), timeout=5).json()["jobId"]
        while sandbox.control.job(job_id)["status"] != "Processing":
            time.sleep(0.02)
        time.sleep(0.2)
        started = time.monotonic()
        process = sandbox._process
        assert process is not None
        process.terminate()
        assert process.wait(10) == 0
        assert time.monotonic() - started < 5
