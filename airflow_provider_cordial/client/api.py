"""Cordial's v2 API without I/O: which request asks for what, and what an answer means.

The synchronous hook and the asynchronous client both send what is described here and pass the answer to ``interpret``,
so that an answer has one meaning.

Source: Cordial, "Audience Trends export API", "Jobs API", "Global API error responses", "API rate limiting", and the
v2 Swagger document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from airflow_provider_cordial import __version__
from airflow_provider_cordial.client.job import Job, parse_ids
from airflow_provider_cordial.client.retry_after import parse_retry_after
from airflow_provider_cordial.client.secrets import mask_members, strike_out
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    CordialError,
    DestinationError,
    ExportConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestError,
    ServerError,
    UnreadableAnswerError,
)

HEADERS = {"Accept": "application/json", "User-Agent": f"airflow-provider-cordial/{__version__}"}

#: Rows requested per page. Cordial does not document its largest page; a page with fewer rows is not the last.
PER_PAGE = 100

_ACCESS_ADVICE = (
    "Check the API key (the raw key, in the password field of the Airflow connection), the host (api.cordial.io or "
    "api.usw2.cordial.io, matching the address of your console), the key's IP allow-list (it must contain the "
    "addresses of workers and triggerers), and the key's permission for {request}."
)

#: The words of a 400 that is not about the destination. Source: the Swagger document, on the exports of contacts, their
#: activities, and messages.
_ABOUT_THE_EXPORT = re.compile(r"^Audience with name|export type|confirm email|Job could not be created")

#: The members of the answer to an export that may contain the job's id.
JOB_ID_MEMBERS = ("jobId", "jobID")

_EXPLANATIONS = ("message", "messages", "validationErrors", "fieldErrors", "errors", "error")
_SNIPPET_LENGTH = 300

#: Bytes; a larger answer is not read.
MAX_ANSWER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API.

    :param body: sent as JSON; it may contain the secrets of a destination, so ``repr`` leaves it out.
    :param secrets: what must not appear in a message: parts of the body, and the API key.
    :param error_hint: what to check when Cordial rejects an export's configuration.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    error_hint: str = ""

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"

    __str__ = __repr__

    def with_secrets(self, secrets: Iterable[str]) -> Request:
        """Return the request with more secrets."""
        return replace(self, secrets=(*self.secrets, *secrets))

    @property
    def endpoint(self) -> str:
        """The method and the path without an id: what a rate limit applies to."""
        return f"{self.method} {'/'.join(self.path.split('/')[:3])}{'/{id}' if self.path.count('/') > 2 else ''}"

    @property
    def is_export(self) -> bool:
        """Whether sending it twice creates two jobs."""
        return self.method == "POST"


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer; ``headers`` must ignore the case of a name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def create_export(kind: str, body: Mapping[str, Any], *, secrets: Iterable[str] = (), error_hint: str = "") -> Request:
    """Build the request that submits an export; ``kind`` is the endpoint, ``audiencetrendsexport`` for instance."""
    return Request("POST", f"/v2/{kind}", body=body, secrets=tuple(secrets), error_hint=error_hint)


def get_job(job_id: str) -> Request:
    """Build the request for one job."""
    if not job_id:
        msg = "Invalid job_id '': expected the job id that the export operator returned."
        raise RequestError(msg)
    return Request("GET", f"/v2/jobs/{quote(job_id, safe='')}")


def list_jobs(*, page: int = 1, per_page: int = PER_PAGE, filters: Mapping[str, str] | None = None) -> Request:
    """Build the request for one page of the list of jobs.

    :param filters: ``jobName``, ``status``, ``times[start][gte]``, and the like, passed unchanged: the format of a time
        is not documented.
    """
    return Request(
        "GET",
        "/v2/jobs",
        params=(("page", str(page)), ("per_page", str(per_page)), *(filters or {}).items()),
    )


def interpret(request: Request, answer: Answer) -> Any:
    """Return the content of a successful answer, or raise the error that an unsuccessful one means.

    :raises CordialError: the class of ``exceptions`` that matches the status.
    """
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            text = _snippet(request, answer.body)
            msg = f"{request}: Cordial answered {answer.status} with a body that is not JSON: {text!r}."
            raise UnreadableAnswerError(msg, status=answer.status) from None
    raise _rejection(request, answer)


def answer_too_large(request: Request, status: int) -> UnreadableAnswerError:
    """Return the error for an answer that exceeds ``MAX_ANSWER``."""
    msg = f"{request}: Cordial answered {status} with more than {MAX_ANSWER >> 20} MB, which were not read."
    return UnreadableAnswerError(msg, status=status)


def connection_failed(request: Request, base_url: str, error: Exception, *, sent: bool) -> ConnectionFailedError:
    """Return the error for a request without a complete answer.

    :param sent: whether the request may have reached Cordial.
    """
    # Only the class of the error: its text may contain the whole address, or that of a proxy with its password.
    kind = type(error).__name__
    advice = (
        f"It is unknown whether it reached {base_url}."
        if sent
        else f"It did not reach {base_url}. Check the connection's host, the network, and the proxy."
    )
    return ConnectionFailedError(f"{request}: no answer ({kind}). {advice}", sent=sent)


def parse_job_id(request: Request, payload: Any) -> str:
    """Return the job id in the answer to an export.

    Cordial documents it for the other exports only, spells the member ``jobID`` elsewhere, and documents for imports
    that it may be an object. An ``id`` of any other member may identify something else.
    """
    answer = payload if isinstance(payload, Mapping) else {}
    job_id = next((answer[member] for member in JOB_ID_MEMBERS if answer.get(member)), None)
    if isinstance(job_id, Mapping):
        if job_id.get("error"):
            # A rejection in the place of the id: no job was created.
            _, text = _explanation(request, json.dumps(job_id).encode())
            msg = f"{request}: Cordial rejected the export: {text.rstrip('.')}. Correct the export or its destination."
            raise DestinationError(msg, status=HTTPStatus.OK, cordial_message=text)
        job_id = next(iter(parse_ids(job_id)), None)
    if isinstance(job_id, bool) or not isinstance(job_id, str | int) or not str(job_id).strip():
        text = _payload_snippet(request, payload)
        msg = f"{request}: the answer has no jobId: {text}. A job may have been created; check Cordial's Jobs page."
        raise UnreadableAnswerError(msg, status=HTTPStatus.OK)
    return str(job_id)


def parse_job(request: Request, payload: Any, job_id: str) -> Job:
    """Return the job in the answer to ``get_job``."""
    # Recordings of v1 show a list with one record for a single record of other collections.
    record = payload[0] if isinstance(payload, list) and len(payload) == 1 else payload
    if not isinstance(record, Mapping) or not isinstance(record.get("status"), str):
        msg = f"{request}: the answer has no status: {_payload_snippet(request, payload)}."
        raise UnreadableAnswerError(msg, status=HTTPStatus.OK)
    return Job.from_record(record, job_id)


def parse_jobs(request: Request, payload: Any) -> list[Job]:
    """Return the jobs of one page."""
    return [Job.from_record(record) for record in parse_records(request, payload)]


def parse_records(request: Request, payload: Any) -> list[Mapping[str, Any]]:
    """Return the records of one page unchanged; they may contain secrets, which ``Job`` masks."""
    if not isinstance(payload, list) or not all(isinstance(record, Mapping) for record in payload):
        msg = f"{request}: the answer is not a list of jobs: {_payload_snippet(request, payload)}."
        raise UnreadableAnswerError(msg, status=HTTPStatus.OK)
    return payload


def _rejection(request: Request, answer: Answer) -> CordialError:
    error_key, text = _explanation(request, answer.body)
    details: dict[str, Any] = {
        "status": answer.status,
        "error_key": error_key,
        "cordial_message": text,
        "is_from_cordial": _is_cordials(answer.body),
    }
    what = f"{request}: Cordial answered {answer.status}" + (f": {text.rstrip('.')}." if text else ".")
    match answer.status:
        case HTTPStatus.UNAUTHORIZED:
            return AuthenticationError(f"{what} {_ACCESS_ADVICE.format(request=request)}", **details)
        case HTTPStatus.FORBIDDEN:
            return PermissionDeniedError(f"{what} {_ACCESS_ADVICE.format(request=request)}", **details)
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(what, **details)
        case HTTPStatus.BAD_REQUEST if request.is_export and _ABOUT_THE_EXPORT.search(text):
            return ExportConfigurationError(f"{what} Correct the export. {request.error_hint}".rstrip(), **details)
        case HTTPStatus.BAD_REQUEST if request.is_export:
            return DestinationError(f"{what} Correct the destination or its Airflow connection.", **details)
        case HTTPStatus.NOT_ACCEPTABLE if request.is_export:
            return ExportConfigurationError(f"{what} Correct the export. {request.error_hint}".rstrip(), **details)
        case HTTPStatus.TOO_MANY_REQUESTS:
            wait = parse_retry_after(answer.headers)
            advice = "Cordial does not specify a wait." if wait is None else f"Cordial asks to wait {wait:g} s."
            return RateLimitError(f"{what} Rate limit reached. {advice}", retry_after=wait, **details)
        case HTTPStatus.REQUEST_TIMEOUT:
            return ServerError(what, **details)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ServerError(f"{what} Cordial, or a proxy in front of it, failed.", **details)
        case status if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            advice = (
                "Redirects are not followed, so that the API key stays with its host. Correct the connection's host."
            )
            return RequestError(f"{what} {advice}", **details)
        case _:
            return RequestError(what, **details)


def _is_cordials(body: bytes) -> bool:
    """Return whether a body is a JSON object, as all of Cordial's errors are."""
    try:
        return isinstance(json.loads(body), Mapping)
    except (ValueError, RecursionError):
        return False


def _explanation(request: Request, body: bytes) -> tuple[str | None, str]:
    """Return ``errorKey`` and the explanations in the body of an unsuccessful answer, without secrets."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None, _snippet(request, body)
    if not isinstance(payload, Mapping):
        return None, _snippet(request, body)
    parts = [
        value if isinstance(value, str) else json.dumps(mask_members(value), ensure_ascii=False)
        for member in _EXPLANATIONS
        if (value := payload.get(member)) and value is not True
    ]
    error_key = payload.get("errorKey")
    return (
        strike_out(error_key, request.secrets) if isinstance(error_key, str) else None,
        strike_out("; ".join(parts), request.secrets),
    )


def _payload_snippet(request: Request, payload: Any) -> str:
    return _snippet(request, json.dumps(mask_members(payload), ensure_ascii=False).encode(errors="replace"))


def _snippet(request: Request, body: bytes) -> str:
    """Return the start of a body without secrets, which are struck out before it is cut."""
    text = strike_out(body.decode("utf-8", errors="replace"), request.secrets)
    text = " ".join(text.split())
    return text if len(text) <= _SNIPPET_LENGTH else text[:_SNIPPET_LENGTH] + "..."
