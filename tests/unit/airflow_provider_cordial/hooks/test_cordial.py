"""The hook and the asynchronous client against the sandbox: every documented answer, and several others."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_cordial import exceptions
from airflow_provider_cordial.client.async_client import AsyncCordialClient
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    CordialError,
    DestinationError,
    ExportConfigurationError,
    InvalidConnectionError,
    NotFoundError,
    RateLimitError,
    RequestError,
    ServerError,
    UnreadableAnswerError,
)
from airflow_provider_cordial.hooks.cordial import CordialHook, read_connection
from cordial_sandbox.process import SandboxProcess
from tests.helpers.raw_server import drip_the_body, drip_the_header, raw_server
from tests.helpers.sandbox import SetConnection, export_body, sftp_destination

KIND = "audiencetrendsexport"

GetJob = Callable[[str], Job]


@pytest.fixture
def hook(cordial: SandboxProcess) -> Iterator[CordialHook]:
    hook = CordialHook()
    yield hook
    hook.close()


@pytest.fixture(params=["hook", "client"])
def get_job(request: pytest.FixtureRequest, hook: CordialHook) -> GetJob:
    """Get a job by the hook and by the asynchronous client: both must give the same result."""
    if request.param == "hook":
        return hook.get_job

    async def look(job_id: str) -> Job:
        async with AsyncCordialClient(await read_connection("cordial_default")) as client:
            return await client.get_job(job_id)

    return lambda job_id: asyncio.run(look(job_id))


def body(sandbox: SandboxProcess, **changes: Any) -> dict[str, Any]:
    return export_body(**{"selected_timeframe_end": "2026-11-12", "destination": sftp_destination(sandbox), **changes})


def test_a_job_is_submitted_and_polled_to_its_end(cordial: SandboxProcess, hook: CordialHook, get_job: GetJob) -> None:
    job_id = hook.create_export(KIND, body(cordial))
    deadline = time.monotonic() + 10
    while not (job := get_job(job_id)).is_done and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (job.id, job.status, job.name) == (job_id, "Done", "trends-1")
    assert (cordial.sftp.root / "exports" / "trends-1.csv").read_text().startswith("audience,2026-11-10,2026-11-11,")


S3 = {"type": "s3", "aws_bucket": "b", "aws_region": "us-west-2", "path": "f"}


@pytest.mark.parametrize(
    ("destination", "text"),
    [
        ({}, "The destination.type field is required."),
        ({"type": "dropbox"}, "The selected destination.transport is invalid."),
        ({"type": "sftp", "server": "h", "password": "p", "path": "f"}, "The destination.username field is required."),
        ({"type": "ftp", "server": "h", "username": "u", "path": "f"}, "Parameter password is not set"),
        ({"type": "sftp", "server": "h", "username": "u", "path": "f"}, "Parameter password is not set"),
        ({"type": "sftp", "server": "h", "username": "u", "password": "p"}, "The destination.path field is required."),
        ({**S3, "aws_bucket": ""}, "The destination.aws bucket field is required."),
        ({**S3, "aws_region": ""}, "The destination.aws region field is required."),
        ({**S3, "aws_access_key_id": "A"}, "The destination.aws secret access key field is required."),
        ({**S3, "aws_secret_access_key": "S"}, "The destination.aws access key id field is required."),
        (
            {"type": "sftp", "server": "h", "username": "u", "savedKey": "wrong", "path": "f"},
            "SSH key with such Name/ID: wrong does not exist.",
        ),
    ],
)
def test_every_documented_400(
    cordial: SandboxProcess, hook: CordialHook, destination: dict[str, Any], text: str
) -> None:
    with pytest.raises(DestinationError) as rejected:
        hook.create_export(KIND, body(cordial, destination=destination))
    assert (rejected.value.status, rejected.value.cordial_message) == (400, text)
    assert cordial.control.jobs() == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"audiences": ["fakeAudience"]}, "Audience 'fakeAudience' does not exist."),
        ({"audiences": ["opened_last_30_days", "fakeAudience"]}, "Audience 'fakeAudience' does not exist."),
        ({"audiences": ["vip"]}, "For Audience 'vip' analytics disabled."),
        ({"audiences": None}, "Field 'audiences' should be provided."),
        ({"audiences": []}, "Field 'audiences' should be provided."),
        ({"name": None}, "Field 'name' should be provided."),
        (
            {"selected_timeframe_end": None},
            "Both fields 'selected_timeframe_start' and 'selected_timeframe_end' should be present.",
        ),
        (
            {"selected_timeframe_start": "soon"},
            "The 'selected_timeframe_start' is invalid. ISO-8601 is a recommended format.",
        ),
        (
            {"selected_timeframe_end": "2026-11-31"},
            "The 'selected_timeframe_end' is invalid. ISO-8601 is a recommended format.",
        ),
        (
            {"selected_timeframe_end": "2026-11-09"},
            "'selected_timeframe_end' cannot be in past in comparison with 'selected_timeframe_start'",
        ),
    ],
)
def test_every_documented_406(cordial: SandboxProcess, hook: CordialHook, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ExportConfigurationError) as rejected:
        hook.create_export(KIND, body(cordial, **changes))
    assert (rejected.value.status, rejected.value.cordial_message) == (406, text)
    assert cordial.control.jobs() == []


def test_401_names_the_likely_causes(cordial: SandboxProcess, set_connection: SetConnection, get_job: GetJob) -> None:
    set_connection("cordial_default", conn_type="cordial", host=cordial.url, password="wrong-key-123")
    with pytest.raises(AuthenticationError, match="(?s)Authentication Failure.*raw key.*allow-list") as rejected:
        get_job("548817d0")
    assert rejected.value.status == 401
    assert "wrong-key-123" not in rejected.value.message


def test_404(get_job: GetJob) -> None:
    with pytest.raises(NotFoundError) as rejected:
        get_job("548817d0")
    assert (rejected.value.error_key, rejected.value.cordial_message) == ("RECORD_NOT_FOUND", "record not found")


def test_422(hook: CordialHook) -> None:
    with pytest.raises(exceptions.RequestError, match="422: Time value is incorrect"):
        list(hook.list_jobs(filters={"times[start][gt]": "last week"}))


def test_415_and_html_and_a_redirect(cordial: SandboxProcess, hook: CordialHook) -> None:
    cordial.control.fault(
        "create_export", "answer", status=415, times=1, body='{"error": true, "message": "Unsupported"}'
    )
    with pytest.raises(exceptions.RequestError, match="415: Unsupported"):
        hook.create_export(KIND, body(cordial))
    cordial.control.fault("create_export", "answer", status=200, times=1, body="<html>hello</html>")
    with pytest.raises(UnreadableAnswerError, match="not JSON"):
        hook.create_export(KIND, body(cordial))
    cordial.control.fault(
        "create_export", "answer", status=307, times=1, headers={"Location": "https://example.invalid/"}
    )
    with pytest.raises(exceptions.RequestError, match="Redirects are not followed"):
        hook.create_export(KIND, body(cordial))
    assert cordial.control.jobs() == []


Trouble = tuple[dict[str, Any], type[CordialError]]


TROUBLES = [
    pytest.param({"effect": "answer", "status": 429, "headers": {"Retry-After": "0"}}, RateLimitError, id="429"),
    pytest.param({"effect": "answer", "status": 429}, RateLimitError, id="429-without-headers"),
    pytest.param({"effect": "answer", "status": 500, "body": "<html>oops</html>"}, ServerError, id="500"),
    pytest.param({"effect": "answer", "status": 524}, ServerError, id="524"),
    pytest.param({"effect": "answer", "status": 200, "body": "<html>"}, UnreadableAnswerError, id="html"),
    pytest.param({"effect": "truncate"}, ConnectionFailedError, id="truncated"),
    pytest.param({"effect": "reset"}, ConnectionFailedError, id="reset"),
]


@pytest.mark.parametrize(("fault", "error"), TROUBLES)
def test_a_get_is_retried_up_to_its_attempts(
    cordial: SandboxProcess, hook: CordialHook, fault: dict[str, Any], error: type[CordialError]
) -> None:
    job_id = hook.create_export(KIND, body(cordial))
    cordial.control.fault("get_job", times=2, **fault)
    assert hook.get_job(job_id).id == job_id
    cordial.control.fault("get_job", **fault)
    with pytest.raises(error):
        hook.get_job(job_id)
    cordial.control.clear_faults()
    assert hook.get_job(job_id).id == job_id


# aiohttp itself repeats a GET once after a connection reset.
@pytest.mark.parametrize(("fault", "error"), [trouble for trouble in TROUBLES if trouble.id != "reset"])
def test_the_client_does_not_retry(
    cordial: SandboxProcess, hook: CordialHook, fault: dict[str, Any], error: type[CordialError]
) -> None:
    job_id = hook.create_export(KIND, body(cordial))
    cordial.control.fault("get_job", times=1, **fault)

    async def look_twice() -> Job:
        async with AsyncCordialClient(await read_connection("cordial_default")) as client:
            with pytest.raises(error):
                await client.get_job(job_id)
            return await client.get_job(job_id)

    assert asyncio.run(look_twice()).id == job_id


def test_a_slow_answer_is_an_error(cordial: SandboxProcess, set_connection: SetConnection, get_job: GetJob) -> None:
    extra = {"read_timeout": 0.2, "attempts": 1}
    set_connection("cordial_default", conn_type="cordial", host=cordial.url, password=cordial.api_key, extra=extra)
    cordial.control.fault("get_job", "delay", seconds=2, times=1)
    started = time.monotonic()
    with pytest.raises(ConnectionFailedError, match="no answer"):
        get_job("548817d0")
    assert time.monotonic() - started < 1.5


def test_retry_after_is_honored_up_to_a_limit(cordial: SandboxProcess, hook: CordialHook) -> None:
    job_id = hook.create_export(KIND, body(cordial))
    cordial.control.fault("get_job", "answer", status=429, headers={"Retry-After": "1"}, times=1)
    started = time.monotonic()
    assert hook.get_job(job_id).id == job_id
    assert time.monotonic() - started >= 1
    cordial.control.fault("get_job", "answer", status=429, headers={"X-Rate-Limit-Reset": "3600"}, times=1)
    started = time.monotonic()
    with pytest.raises(RateLimitError, match="3600 s") as limited:
        hook.get_job(job_id)
    assert limited.value.retry_after == 3600
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"effect": "reset"}, ConnectionFailedError, id="reset"),
        pytest.param({"effect": "truncate"}, ConnectionFailedError, id="truncated"),
        pytest.param({"effect": "answer", "status": 500}, ServerError, id="500"),
        pytest.param({"effect": "answer", "status": 503}, ServerError, id="503"),
        pytest.param({"effect": "answer", "status": 200, "body": "{}"}, UnreadableAnswerError, id="no-job-id"),
        pytest.param({"effect": "answer", "status": 200, "body": "<html>"}, UnreadableAnswerError, id="html"),
    ],
)
def test_an_export_that_may_have_arrived_is_not_retried(
    cordial: SandboxProcess, hook: CordialHook, fault: dict[str, Any], error: type[CordialError]
) -> None:
    cordial.control.fault("create_export", times=1, processed=True, **fault)
    with pytest.raises(error) as raised:
        hook.create_export(KIND, body(cordial))
    assert len(cordial.control.jobs()) == 1
    assert len(cordial.control.requests()) == 1
    assert cordial.sftp.password not in raised.value.message


def test_an_export_rejected_for_its_rate_is_retried(cordial: SandboxProcess, hook: CordialHook) -> None:
    cordial.control.fault("create_export", "answer", status=429, headers={"Retry-After": "0"}, times=2)
    job_id = hook.create_export(KIND, body(cordial))
    assert [job["id"] for job in cordial.control.jobs()] == [job_id]
    assert [request["status"] for request in cordial.control.requests()] == [429, 429, 200]


def test_an_export_without_a_connection_is_retried(
    cordial: SandboxProcess, set_connection: SetConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{closed.getsockname()[1]}"
        set_connection("cordial_default", conn_type="cordial", host=host, password="KEY-123456", extra={"attempts": 2})
        hook = CordialHook()
        with pytest.raises(ConnectionFailedError, match="It did not reach") as failed:
            hook.create_export(KIND, body(cordial))
    assert failed.value.sent is False
    assert capsys.readouterr().out.count("Retrying in") == 1


def test_one_connection_and_a_user_agent_with_the_version(cordial: SandboxProcess, hook: CordialHook) -> None:
    job_id = hook.create_export(KIND, body(cordial))
    for _ in range(3):
        hook.get_job(job_id)
    requests = cordial.control.requests()
    assert len({request["client_port"] for request in requests}) == 1
    assert {request["user_agent"] for request in requests} == {"airflow-provider-cordial/0.1.0"}
    assert requests[0]["content_type"] == "application/json"


def test_all_pages_are_listed_for_any_page_size(cordial: SandboxProcess, hook: CordialHook) -> None:
    made = [hook.create_export(KIND, body(cordial, name=f"trends-{n}")) for n in range(5)]
    assert [job.id for job in hook.list_jobs(per_page=2)] == made[::-1]
    assert [job.name for job in hook.list_jobs(per_page=100)] == [f"trends-{n}" for n in (4, 3, 2, 1, 0)]
    assert list(hook.list_jobs(filters={"status": "Throttled"})) == []
    cordial.control.fault("list_jobs", "answer", status=404, times=1, body='{"error": true}')
    assert list(hook.list_jobs()) == []


def test_a_list_that_ignores_the_page_number_ends(cordial: SandboxProcess, hook: CordialHook) -> None:
    cordial.control.fault("list_jobs", "answer", status=200, body='[{"status": "Done", "_id": "1"}]')
    assert [job.id for job in hook.list_jobs()] == ["1"]


def test_the_connection_test_describes_the_problem(
    cordial: SandboxProcess, hook: CordialHook, set_connection: SetConnection
) -> None:
    assert hook.test_connection() == (True, f"Connected to {cordial.url}; the API key is accepted.")
    assert cordial.control.requests()[-1]["query"] == "page=1&per_page=1"
    cordial.control.fault("list_jobs", "answer", status=404, times=1)
    assert hook.test_connection()[0] is True
    cordial.control.fault("list_jobs", "answer", status=403, times=1)
    worked, text = hook.test_connection()
    assert (worked, "permission for GET /v2/jobs" in text) == (False, True)
    cordial.control.fault("list_jobs", "answer", status=500, times=1)
    assert "reaches a server with an unexpected answer" in hook.test_connection()[1]
    set_connection("cordial_default", conn_type="cordial", host=cordial.url, password="wrong-key-123")
    worked, text = CordialHook().test_connection()
    assert (worked, "Check the API key" in text, "wrong-key-123" in text) == (False, True, False)
    set_connection("cordial_default", conn_type="cordial", host="http://127.0.0.1:9", password="KEY-123456")
    assert "Check the connection's host" in CordialHook().test_connection()[1]
    set_connection("cordial_default", conn_type="cordial", host="http://api.cordial.io", password="KEY-123456")
    worked, text = CordialHook().test_connection()
    assert (worked, text.startswith("Invalid host 'http://api.cordial.io'")) == (False, True)


def test_the_client_uses_the_proxy_of_the_environment(
    cordial: SandboxProcess, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection("cordial_default", conn_type="cordial", host="http://localhost:9", password="KEY-123456")
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    received: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"status":"Pending"}')
        await writer.drain()
        writer.close()

    async def get() -> Job:
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            monkeypatch.setenv("http_proxy", f"http://someone:secret-of-the-proxy@127.0.0.1:{address[1]}")
            async with AsyncCordialClient(await read_connection("cordial_default")) as client:
                return await client.get_job("548817d0")

    assert asyncio.run(get()).status == "Pending"
    assert received[0].startswith(b"GET http://localhost:9/v2/jobs/548817d0 ")
    assert b"Proxy-Authorization: Basic c29tZW9uZTpzZWNyZXQtb2YtdGhlLXByb3h5" in received[0]
    monkeypatch.setenv("no_proxy", "localhost")
    with pytest.raises(ConnectionFailedError, match="no answer"):
        asyncio.run(get())
    assert len(received) == 1


@pytest.mark.filterwarnings("error::DeprecationWarning:aiohttp")
def test_the_proxy_of_an_https_address_receives_its_login(
    set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection("cordial_default", conn_type="cordial", password="KEY-123456")
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    received: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def get() -> None:
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setenv("https_proxy", f"http://some%40one:secret%3A1@127.0.0.1:{port}")
            async with AsyncCordialClient(await read_connection("cordial_default")) as client:
                await client.get_job("548817d0")

    with pytest.raises(ConnectionFailedError):
        asyncio.run(get())
    assert received[0].startswith(b"CONNECT api.cordial.io:443 ")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"some@one:secret:1") in received[0]
    assert base64.b64encode(b"KEY-123456:") not in received[0]


def test_a_retired_client_closes_after_its_requests(cordial: SandboxProcess) -> None:
    job_id = CordialHook().create_export(KIND, export_body())
    cordial.control.fault("get_job", "delay", seconds=0.5, times=3)

    async def retire_under_requests() -> tuple[list[str], bool, bool]:
        client = AsyncCordialClient(await read_connection("cordial_default"))
        requests = [asyncio.create_task(client.get_job(job_id)) for _ in range(5)]
        # The first requests are in flight, and the last still wait for their turn.
        await asyncio.sleep(0.15)
        await client.retire()
        was_open = not client._session.closed
        found = await asyncio.gather(*requests)
        return [job.id for job in found], was_open, client._session.closed

    assert asyncio.run(retire_under_requests()) == ([job_id] * 5, True, True)


def test_an_idle_retired_client_closes_at_once(cordial: SandboxProcess) -> None:
    async def retire() -> bool:
        client = AsyncCordialClient(await read_connection("cordial_default"))
        await client.retire()
        return client._session.closed

    assert asyncio.run(retire())


def test_a_missing_connection_is_an_error_that_creates_it() -> None:
    with pytest.raises(
        InvalidConnectionError, match="does not exist\\.\\sCreate it: airflow connections add no_such_one"
    ):
        CordialHook("no_such_one").get_job("j1")


@pytest.mark.parametrize("drip", [drip_the_header, drip_the_body])
def test_a_dripping_answer_ends_in_time(
    set_connection: SetConnection, get_job: GetJob, drip: Callable[[socket.socket], None]
) -> None:
    with raw_server(drip) as url:
        extra = {"attempts": 1, "connect_timeout": 0.5, "read_timeout": 1}
        set_connection("cordial_default", conn_type="cordial", host=url, password="KEY-123456", extra=extra)
        started = time.monotonic()
        with pytest.raises(ConnectionFailedError, match="no answer") as failed:
            get_job("j1")
    assert failed.value.sent
    assert 1 < time.monotonic() - started < 4


def test_a_dripping_answer_does_not_delay_the_deadline_of_a_worker(set_connection: SetConnection) -> None:
    with raw_server(drip_the_body) as url:
        set_connection("cordial_default", conn_type="cordial", host=url, password="KEY-123456")
        started = time.monotonic()
        with pytest.raises(ConnectionFailedError):
            CordialHook().get_job("j1", timeout=2)
    assert time.monotonic() - started < 5


def test_a_huge_answer_is_not_read(set_connection: SetConnection, get_job: GetJob) -> None:
    packed = gzip.compress(b"[" + b" " * (40 << 20) + b"]")

    def bomb(connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
        connection.sendall(head.encode() + packed)

    with raw_server(bomb) as url:
        set_connection("cordial_default", conn_type="cordial", host=url, password="KEY-123456", extra={"attempts": 1})
        with pytest.raises(UnreadableAnswerError, match="more than 16 MB, which were not read"):
            get_job("j1")


def test_the_api_key_is_struck_out_of_an_answer(set_connection: SetConnection, get_job: GetJob) -> None:
    body = b'{"error": true, "message": "Key KEY-123456 of S0VZLTEyMzQ1Njo= is wrong"}'

    def echo(connection: socket.socket) -> None:
        head = f"HTTP/1.1 422 No\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    with raw_server(echo) as url:
        set_connection("cordial_default", conn_type="cordial", host=url, password="KEY-123456", extra={"attempts": 1})
        with pytest.raises(RequestError, match=r"Key \*\*\* of \*\*\*=? is wrong"):
            get_job("j1")
