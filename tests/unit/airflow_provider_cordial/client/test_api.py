"""What an answer means, decided without I/O."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from airflow_provider_cordial import exceptions
from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.retries import is_repeatable
from airflow_provider_cordial.client.retry_after import parse_retry_after
from airflow_provider_cordial.exceptions import (
    ConnectionFailedError,
    CordialError,
    RateLimitError,
    UnreadableAnswerError,
)

BODY = {"name": "trends", "destination": {"type": "sftp", "password": "hunter2-secret", "path": "exports"}}
EXPORT = api.create_export("audiencetrendsexport", BODY, secrets=["hunter2-secret"], error_hint="Check the cohort.")
GET = api.get_job("548817d0367df1ef518b4567")


def answer(status: int, body: Any = b"", **headers: str) -> api.Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.Answer(
        status, CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()}), raw
    )


def error_of(request: api.Request, given: api.Answer) -> CordialError:
    with pytest.raises(CordialError) as raised:
        api.interpret(request, given)
    return raised.value


def generic(message: str) -> dict[str, Any]:
    return {"error": True, "errorKey": "GENERIC_ERROR_KEY", "message": message}


@pytest.mark.parametrize(
    ("request_", "status", "body", "error", "text"),
    [
        (EXPORT, 400, generic("The destination.path field is required."), "DestinationError", "destination.path field"),
        (EXPORT, 400, {"error": True, "fieldErrors": {"destination": ["is required"]}}, "DestinationError", "required"),
        *(
            (EXPORT, 400, generic(message), "ExportConfigurationError", "Correct the export.")
            for message in (
                "Audience with name: 'string' does not exist.",
                "The selected export type is invalid.",
                "The confirm email must be a valid email address.",
                "Job could not be created",
            )
        ),
        (EXPORT, 400, generic("SSH key with such Name/ID: wrong does not exist."), "DestinationError", "SSH key"),
        (EXPORT, 400, generic("Store type not supported"), "DestinationError", "Store type"),
        (EXPORT, 406, generic("For Audience 'vip' analytics disabled."), "ExportConfigurationError", "'vip' analytics"),
        (GET, 401, {"error": "Access Denied: Authentication Failure"}, "AuthenticationError", "Authentication Failure"),
        (GET, 403, b"", "PermissionDeniedError", "IP allow-list"),
        (GET, 404, {"error": True, "message": "record not found"}, "NotFoundError", "record not found"),
        (GET, 400, generic("When include=statistic"), "RequestError", "include=statistic"),
        (EXPORT, 415, generic("Unsupported Media Type"), "RequestError", "Unsupported Media Type"),
        (GET, 422, generic("Time value is incorrect"), "RequestError", "Time value is incorrect"),
        (GET, 429, b"", "RateLimitError", "does not specify a wait"),
        (GET, 500, b"<html>oops</html>", "ServerError", "<html>oops</html>"),
        (GET, 524, b"", "ServerError", "answered 524"),
        (GET, 302, b"", "RequestError", "Redirects are not followed"),
        (GET, 200, b"<html>login</html>", "UnreadableAnswerError", "not JSON"),
        (
            GET,
            400,
            {"error": True, "fieldErrors": {"path": ["is required"]}},
            "RequestError",
            '{"path": ["is required"]}',
        ),
        (GET, 422, {"error": True, "message": {"id": "no"}, "messages": ["a", "b"]}, "RequestError", '{"id": "no"}'),
        (GET, 400, ["unexpected"], "RequestError", "unexpected"),
    ],
)
def test_interpret_answers(request_: api.Request, status: int, body: Any, error: str, text: str) -> None:
    raised = error_of(request_, answer(status, body))
    assert type(raised) is getattr(exceptions, error)
    assert text in str(raised)
    assert raised.status == status
    assert str(request_) in str(raised)


def test_a_rejected_configuration_carries_the_hint_of_the_export() -> None:
    assert "Correct the export. Check the cohort." in error_of(EXPORT, answer(406, generic("no"))).message
    plain = api.create_export("audiencetrendsexport", {})
    assert str(error_of(plain, answer(406, generic("no")))).endswith("Correct the export.")


def test_errors_keep_the_error_key_and_message() -> None:
    raised = error_of(GET, answer(404, {"error": True, "errorKey": "RECORD_NOT_FOUND", "message": "record not found"}))
    assert (raised.error_key, raised.cordial_message) == ("RECORD_NOT_FOUND", "record not found")


def test_repeated_secrets_are_struck_out() -> None:
    text = generic("password hunter2-secret of key K3Y-1 is wrong")
    with pytest.raises(CordialError) as raised:
        api.interpret(EXPORT.with_secrets(["K3Y-1"]), answer(400, text))
    assert "hunter2" not in raised.value.message
    assert "hunter2" not in str(raised.value.to_json())
    assert "K3Y-1" not in raised.value.message
    with pytest.raises(UnreadableAnswerError) as unreadable:
        api.interpret(EXPORT, answer(200, b"hunter2-secret"))
    assert "hunter2" not in unreadable.value.message
    assert "hunter2" not in repr(EXPORT)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"X-Rate-Limit-Reset": "30"}, 30.0),
        ({"Retry-After": "7", "X-Rate-Limit-Reset": "30"}, 7.0),
        ({"Retry-After": "soon", "X-Rate-Limit-Reset": "30"}, 30.0),
        ({"Retry-After": "Tue, 24 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf", "X-Rate-Limit-Reset": "9"}, 9.0),
        # 2026-11-24T10:00:12Z as a moment.
        ({"X-Rate-Limit-Reset": "1795514412"}, 12.0),
        ({"X-Rate-Limit-Reset": "1795514000"}, 0.0),
        ({}, None),
    ],
)
def test_parse_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers, now=datetime(2026, 11, 24, 10, tzinfo=UTC)) == seconds
    assert seconds is None or seconds >= 0


def test_a_rate_limit_error_carries_its_retry_after() -> None:
    raised = error_of(GET, answer(429, b"", **{"retry-after": "12"}))
    assert isinstance(raised, RateLimitError)
    assert raised.retry_after == 12.0


@pytest.mark.parametrize(
    ("error", "get", "export"),
    [
        (RateLimitError("x"), True, True),
        (ConnectionFailedError("x", sent=False), True, True),
        (ConnectionFailedError("x", sent=True), True, False),
        (exceptions.ServerError("x"), True, False),
        (UnreadableAnswerError("x"), True, False),
        (exceptions.AuthenticationError("x"), False, False),
        (exceptions.NotFoundError("x"), False, False),
        (ValueError("x"), False, False),
    ],
)
def test_repeatable_requests(error: Exception, get: bool, export: bool) -> None:
    assert is_repeatable(GET, error) is get
    assert is_repeatable(EXPORT, error) is export


@pytest.mark.parametrize(
    "payload", [{}, {"jobId": None}, {"jobId": " "}, [], "548817d0", {"id": "x"}, {"jobId": {"a": 1}}]
)
def test_an_answer_without_a_job_id_is_unreadable(payload: Any) -> None:
    with pytest.raises(UnreadableAnswerError, match="(?s)no jobId.*Jobs page"):
        api.parse_job_id(EXPORT, payload)


def test_a_rejection_in_the_place_of_the_job_id_is_a_rejection() -> None:
    payload = {"jobId": {"error": True, "message": "Can't connect to the server with hunter2-secret"}}
    with pytest.raises(
        exceptions.DestinationError, match=r"rejected the export: Can't connect to the server with \*\*\*"
    ):
        api.parse_job_id(EXPORT, payload)


def test_json_that_is_nested_too_deeply_is_unreadable() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    assert isinstance(error_of(GET, answer(200, deep)), UnreadableAnswerError)
    assert isinstance(error_of(GET, answer(503, deep)), exceptions.ServerError)


def test_a_wrapped_answer_without_a_status_is_masked() -> None:
    payload = {"data": {"status": "Done", "metadata": {"destination": {"password": "hunter2-x"}}}}
    with pytest.raises(UnreadableAnswerError, match="no status") as unreadable:
        api.parse_job(GET, payload, "1")
    assert "hunter2" not in unreadable.value.message


@pytest.mark.parametrize(
    ("status", "body", "is_from_cordial"), [(403, b"<html>no</html>", False), (401, b"{}", True), (403, b"[]", False)]
)
def test_an_access_error_knows_whether_cordial_sent_it(status: int, body: bytes, is_from_cordial: bool) -> None:
    raised = error_of(GET, answer(status, body))
    assert isinstance(raised, exceptions.AccessError)
    assert raised.is_from_cordial is is_from_cordial


def test_job_ids_are_opaque() -> None:
    assert api.parse_job_id(EXPORT, {"jobId": "548817d0"}) == "548817d0"
    assert api.parse_job_id(EXPORT, {"jobId": 17}) == "17"
    assert api.parse_job_id(EXPORT, {"jobID": "548817d0"}) == "548817d0"
    assert api.parse_job_id(EXPORT, {"jobId": {"_id": "548817d0"}}) == "548817d0"
    assert api.get_job("a/b c").path == "/v2/jobs/a%2Fb%20c"
    with pytest.raises(exceptions.RequestError, match="Invalid job_id ''"):
        api.get_job("")


def test_a_job_has_the_requested_id_and_no_secret() -> None:
    record = {"status": "Processing", "metadata": {"name": "t", "destination": {"password": "hunter2", "path": "x"}}}
    job = api.parse_job(GET, record, "548817d0")
    assert (job.id, job.status, job.name) == ("548817d0", "Processing", "t")
    assert job.to_json() == {
        "jobId": "548817d0",
        "status": "Processing",
        "metadata": {"name": "t", "destination": {"password": "***", "path": "x"}},
    }


@pytest.mark.parametrize("payload", [None, [], {}, {"status": None}, {"status": 3}, "Done", [{}, {}]])
def test_a_job_without_a_status_is_unreadable(payload: Any) -> None:
    with pytest.raises(UnreadableAnswerError, match="no status"):
        api.parse_job(GET, payload, "1")


@pytest.mark.parametrize("member", ["_id", "id", "jobId", "jobID"])
def test_a_listed_job_may_have_one_of_four_id_members(member: str) -> None:
    assert [job.id for job in api.parse_jobs(GET, [{"status": "Done", member: "7"}, {"status": "Done"}])] == ["7", ""]


def test_a_list_of_another_form_is_unreadable() -> None:
    with pytest.raises(UnreadableAnswerError, match="not a list"):
        api.parse_jobs(GET, {"jobs": []})
