"""Cordial's v2 API without I/O: which request asks for what, and what an answer means.

The synchronous hook and the asynchronous client both send what is described here and hand the answer back to
``interpret``, so that an answer has one meaning.

Source: Cordial, "Audience Trends export API", "Jobs API", "Global API error responses", "API rate limiting", and the
v2 Swagger document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from airflow_provider_cordial.client.job import Job
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

AUDIENCE_TRENDS_EXPORT = "audiencetrendsexport"

#: The members of a destination that are secret. Source: the Swagger document's ``DestinationObject``.
SECRET_MEMBERS = ("password", "aws_access_key_id", "aws_secret_access_key")

#: Rows asked for on a page. The largest page that Cordial gives is not documented; fewer rows are not the last page.
PER_PAGE = 100

#: A guard against a list that never ends.
MAX_PAGES = 1000

_ADVICE_ON_ACCESS = (
    "Check the API key (the raw key, in the password field of the Airflow connection), the host (api.cordial.io or "
    "api.usw2.cordial.io, as the address of your console says), the key's IP allow-list (the addresses of workers and "
    "of triggerers must both be on it), and that the key may call {request}."
)
_EXPLANATIONS = ("message", "messages", "validationErrors", "fieldErrors", "errors", "error")
_SNIPPET_LENGTH = 300

#: As in Airflow's own masking: to strike out every "p" would hide the message and not the secret.
_SHORTEST_SECRET = 5


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API.

    :param body: sent as JSON; may hold the secrets of a destination, so it is left out of ``repr``.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"

    __str__ = __repr__

    @property
    def is_export(self) -> bool:
        """Whether sending it twice makes two jobs."""
        return self.method == "POST"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be seen of the body, in a message for instance."""
        destination = (self.body or {}).get("destination") or {}
        return tuple(str(destination[member]) for member in SECRET_MEMBERS if destination.get(member))


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer; ``headers`` must find a name whatever its case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def create_export(kind: str, body: Mapping[str, Any]) -> Request:
    """Describe the submission of an export; ``kind`` is the endpoint, ``audiencetrendsexport`` for instance."""
    return Request("POST", f"/v2/{kind}", body=body)


def get_job(job_id: str) -> Request:
    """Describe the look at one job."""
    if not job_id:
        msg = "job_id is empty: pass the job id that the export returned."
        raise RequestError(msg)
    return Request("GET", f"/v2/jobs/{quote(job_id, safe='')}")


def list_jobs(*, page: int = 1, per_page: int = PER_PAGE, filters: Mapping[str, str] | None = None) -> Request:
    """Describe one page of the list of jobs.

    :param filters: ``jobName``, ``status``, ``times[start][gte]`` and the like, passed on as they are: the form of a
        time is not documented.
    """
    return Request(
        "GET",
        "/v2/jobs",
        params=(("page", str(page)), ("per_page", str(per_page)), *(filters or {}).items()),
    )


def interpret(request: Request, answer: Answer, *, secrets: Iterable[str] = ()) -> Any:
    """Return what a successful answer says, or raise what an unsuccessful one means.

    :param secrets: what must not appear in an error even where the answer repeats it.
    :raises CordialError: the class of ``exceptions`` that fits the status.
    """
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        try:
            return json.loads(answer.body)
        except ValueError:
            said = _scrubbed(_snippet(answer.body), (*secrets, *request.secrets))
            msg = f"{request}: Cordial answered {answer.status} with something that is not JSON: {said!r}."
            raise UnreadableAnswerError(msg, status=answer.status) from None
    raise _refusal(request, answer, tuple(secrets))


def parse_job_id(request: Request, payload: Any) -> str:
    """Return the job id that the answer to an export carries."""
    job_id = payload.get("jobId") if isinstance(payload, Mapping) else None
    if not isinstance(job_id, str | int) or not str(job_id).strip():
        said = _scrubbed(_snippet(json.dumps(payload).encode()), request.secrets)
        msg = f"{request}: the answer has no jobId: {said}. A job may have been created; look at Cordial's Jobs page."
        raise UnreadableAnswerError(msg, status=HTTPStatus.OK)
    return str(job_id)


def parse_job(request: Request, payload: Any, job_id: str) -> Job:
    """Return the job that the answer to ``get_job`` carries."""
    # A list of one is what v1 recordings of other collections show for a single record.
    record = payload[0] if isinstance(payload, list) and len(payload) == 1 else payload
    if not isinstance(record, Mapping) or not isinstance(record.get("status"), str):
        msg = f"{request}: the answer has no status: {_snippet(json.dumps(payload).encode())}."
        raise UnreadableAnswerError(msg, status=HTTPStatus.OK)
    return Job.from_record(record, job_id)


def parse_jobs(request: Request, payload: Any) -> list[Job]:
    """Return the jobs of one page."""
    return [Job.from_record(record) for record in parse_records(request, payload)]


def parse_records(request: Request, payload: Any) -> list[Mapping[str, Any]]:
    """Return the records of one page as they came; they may hold secrets, which ``Job`` masks."""
    if not isinstance(payload, list) or not all(isinstance(record, Mapping) for record in payload):
        msg = f"{request}: the answer is not a list of jobs: {_snippet(json.dumps(payload).encode())}."
        raise UnreadableAnswerError(msg, status=HTTPStatus.OK)
    return payload


def may_send_again(request: Request, error: BaseException) -> bool:
    """Tell whether the same request may be sent again by itself after this error.

    Cordial has no idempotency key: an export is sent again only where it surely did not reach Cordial, or was turned
    away for its rate.
    """
    if request.is_export:
        return isinstance(error, RateLimitError) or (isinstance(error, ConnectionFailedError) and not error.sent)
    return isinstance(error, RateLimitError | ServerError | ConnectionFailedError | UnreadableAnswerError)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return how many seconds Cordial asks to wait: ``Retry-After``, else ``X-Rate-Limit-Reset``, else None.

    Source: Cordial, "API rate limiting": both are seconds. A date in ``Retry-After``, which HTTP allows, is understood.
    """
    for name in ("Retry-After", "X-Rate-Limit-Reset"):
        value = headers.get(name, "").strip()
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            then = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            continue
        return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())
    return None


def _refusal(request: Request, answer: Answer, secrets: tuple[str, ...]) -> CordialError:
    error_key, said = _explanation(answer.body)
    said = _scrubbed(said, (*secrets, *request.secrets))
    details: dict[str, Any] = {"status": answer.status, "error_key": error_key, "cordial_message": said}
    what = f"{request}: Cordial answered {answer.status}" + (f": {said.rstrip('.')}." if said else ".")
    match answer.status:
        case HTTPStatus.UNAUTHORIZED:
            return AuthenticationError(f"{what} {_ADVICE_ON_ACCESS.format(request=request)}", **details)
        case HTTPStatus.FORBIDDEN:
            return PermissionDeniedError(f"{what} {_ADVICE_ON_ACCESS.format(request=request)}", **details)
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(what, **details)
        case HTTPStatus.BAD_REQUEST if request.is_export:
            return DestinationError(f"{what} Correct the destination or its Airflow connection.", **details)
        case HTTPStatus.NOT_ACCEPTABLE if request.is_export:
            return ExportConfigurationError(
                f"{what} Correct the export; each audience needs Audience Trend analytics enabled in Cordial.",
                **details,
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            wait = retry_after(answer.headers)
            return RateLimitError(
                f"{what} The rate limit is reached"
                + (
                    f"; Cordial asks to wait {wait:g} s."
                    if wait is not None
                    else "; Cordial does not say for how long."
                ),
                retry_after=wait,
                **details,
            )
        case HTTPStatus.REQUEST_TIMEOUT:
            return ServerError(what, **details)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ServerError(f"{what} Cordial, or a proxy before it, failed.", **details)
        case status if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return RequestError(
                f"{what} Redirects are not followed, so that the API key goes nowhere else; set the connection's host.",
                **details,
            )
        case _:
            return RequestError(what, **details)


def _explanation(body: bytes) -> tuple[str | None, str]:
    """Return ``errorKey`` and all that the body of an unsuccessful answer says."""
    try:
        payload = json.loads(body)
    except ValueError:
        return None, _snippet(body)
    if not isinstance(payload, Mapping):
        return None, _snippet(body)
    parts = [
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for member in _EXPLANATIONS
        if (value := payload.get(member)) and value is not True
    ]
    return payload.get("errorKey"), "; ".join(parts)


def _snippet(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", errors="replace").split())
    return text if len(text) <= _SNIPPET_LENGTH else text[:_SNIPPET_LENGTH] + "..."


def _scrubbed(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text
