"""CordialHook, and the asynchronous client with the same meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_provider_cordial import __version__, api
from airflow_provider_cordial._compat import mask_secret
from airflow_provider_cordial.connection import CordialConnection
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    CordialError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from airflow_provider_cordial.get_provider_info import EXTRA_FIELDS, HIDDEN_FIELDS, PLACEHOLDERS, RELABELING

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    import aiohttp
    import requests
    from tenacity import RetryCallState

    from airflow_provider_cordial.jobs import Job

HEADERS = {"Accept": "application/json", "User-Agent": f"airflow-provider-cordial/{__version__}"}

#: A guard against a list that never ends; what the largest page is, is not documented.
MAX_PAGES = 1000


class CordialHook(BaseHook):
    """Talk to Cordial's v2 API over HTTPS with Basic auth: the API key as user name, a blank password.

    One session with keep-alive per hook. GETs are sent again on 429, 5xx, unreadable answers and connection errors, for
    ``attempts`` times; an export only where it surely did not reach Cordial.

    :param cordial_conn_id: the Airflow connection: API key in the password field, host, and in the extra the time
        zone and the timeouts.
    """

    conn_name_attr = "cordial_conn_id"
    default_conn_name = "cordial_default"
    conn_type = "cordial"
    hook_name = "Cordial"

    def __init__(self, cordial_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cordial_conn_id = cordial_conn_id

    @cached_property
    def connection(self) -> CordialConnection:
        """The Airflow connection, read once and checked; its API key is masked in the logs from then on."""
        connection = CordialConnection.from_airflow(self.get_connection(self.cordial_conn_id))
        for secret in connection.secrets:
            mask_secret(secret)
        return connection

    @cached_property
    def _session(self) -> requests.Session:
        import requests
        from requests.auth import HTTPBasicAuth

        session = requests.Session()
        session.headers.update(HEADERS)
        session.auth = HTTPBasicAuth(self.connection.api_key.encode(), b"")
        return session

    def get_conn(self) -> requests.Session:
        """Return the session: authenticated, with keep-alive."""
        return self._session

    def create_export(self, kind: str, body: Mapping[str, Any]) -> str:
        """Submit an export and return the job id.

        :param kind: the endpoint, ``audiencetrendsexport`` for instance.
        :param body: as Cordial documents it, destination included.
        :raises CordialError: a ``RefusedError`` where Cordial says no; an error with which the export may all the same
            have been accepted is never followed by another submission here.
        """
        request = api.create_export(kind, body)
        return api.job_id_of(request, self._run(request))

    def create_audience_trends_export(self, body: Mapping[str, Any]) -> str:
        """Submit an Audience Trends export and return the job id (see ``create_export``).

        Source: Cordial, "Audience Trends export API".
        """
        return self.create_export(api.AUDIENCE_TRENDS_EXPORT, body)

    def get_job(self, job_id: str) -> Job:
        """Return the job as it is now.

        :raises NotFoundError: Cordial does not know the job (yet).
        """
        request = api.get_job(job_id)
        return api.job_of(request, self._run(request), job_id)

    def list_jobs(self, *, per_page: int = 100, filters: Mapping[str, str] | None = None) -> Iterator[Job]:
        """Yield all jobs that the filters let through, page after page, in Cordial's order (not documented).

        :param per_page: asked for; Cordial's maximum is not documented, so a smaller page is not taken for the last.
        :param filters: passed on as they are, ``{"status": "Done"}`` for instance.
        """
        before: list[Job] = []
        for page in range(1, MAX_PAGES + 1):
            request = api.list_jobs(page=page, per_page=per_page, filters=filters)
            try:
                jobs = api.jobs_of(request, self._run(request))
            except NotFoundError:  # declared on the list too: no match
                return
            # The same page again means that the page number is not heeded.
            if not jobs or jobs == before:
                return
            yield from jobs
            before = jobs

    def test_connection(self) -> tuple[bool, str]:
        """Send one authenticated ``GET /v2/jobs?per_page=1`` and say what came of it."""
        request = api.list_jobs(per_page=1)
        try:
            api.jobs_of(request, self._send(request))
        except NotFoundError:  # authenticated, and no job yet
            pass
        except (AuthenticationError, PermissionDeniedError, ConnectionFailedError) as error:
            return False, str(error)
        except CordialError as error:
            return False, f"{self.cordial_conn_id} reaches a server, but not as expected. {error}"
        except Exception as error:  # noqa: BLE001 - the form shows the message, whatever it is
            return False, str(error)
        return True, f"Connected to {self.connection.base_url}, and the API key is accepted."

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _run(self, request: api.Request) -> Any:
        """Send a request, again where that is safe, and return what the answer says."""
        from tenacity import Retrying

        return Retrying(**_retry_options(request, self.connection, self.log.warning))(self._send, request)

    def _send(self, request: api.Request) -> Any:
        import requests

        connection = self.connection
        read_timeout = connection.export_timeout if request.is_export else connection.read_timeout
        try:
            response = self._session.request(
                request.method,
                connection.base_url + request.path,
                params=list(request.params),
                json=request.body,
                timeout=(connection.connect_timeout, read_timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise _connection_failed(request, connection, error, sent=_may_have_been_sent(error)) from None
        answer = api.Answer(response.status_code, response.headers, response.content)
        return api.interpret(request, answer, secrets=connection.secrets)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Describe the form's extra fields to Airflow before 3.2; later ones read the provider's metadata."""
        from wtforms import FloatField, IntegerField, StringField

        fields = {"string": StringField, "number": FloatField, "integer": IntegerField}
        return {
            name: fields[kind](label, default=default, description=description)
            for name, (label, kind, default, description) in EXTRA_FIELDS.items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the form's standard fields to Airflow before 3.2; later ones read the provider's metadata."""
        return {"hidden_fields": HIDDEN_FIELDS, "relabeling": RELABELING, "placeholders": PLACEHOLDERS}


class AsyncCordialClient:
    """The reading half of the API for an event loop, on aiohttp; used as ``async with``.

    An export is never submitted from here: a trigger may be started again at any time.

    :param connection: see ``read_connection``.
    :param attempts: how often a request is sent at most; by default as the connection says.
    """

    def __init__(self, connection: CordialConnection, *, attempts: int | None = None) -> None:
        self.connection = connection
        self.attempts = attempts

    async def __aenter__(self) -> AsyncCordialClient:
        import aiohttp

        connection = self.connection
        self._session: aiohttp.ClientSession = aiohttp.ClientSession(
            connection.base_url,
            headers={**HEADERS, "Authorization": f"Basic {connection.basic_token}"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connection.connect_timeout, sock_read=connection.read_timeout
            ),
            connector=aiohttp.TCPConnector(ssl=_tls_context()),
            trust_env=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get_job(self, job_id: str) -> Job:
        """Return the job as it is now (see ``CordialHook.get_job``)."""
        request = api.get_job(job_id)
        return api.job_of(request, await self._run(request), job_id)

    async def _run(self, request: api.Request) -> Any:
        from tenacity import AsyncRetrying

        options = _retry_options(request, self.connection, None, attempts=self.attempts)
        return await AsyncRetrying(**options)(self._send, request)

    async def _send(self, request: api.Request) -> Any:
        import aiohttp

        try:
            async with self._session.request(
                request.method, request.path, params=request.params, allow_redirects=False
            ) as response:
                answer = api.Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _connection_failed(request, self.connection, error, sent=True) from None
        return api.interpret(request, answer, secrets=self.connection.secrets)


async def read_connection(cordial_conn_id: str) -> CordialConnection:
    """Read and check an Airflow connection without holding up the event loop."""
    import asyncio

    # aget_connection is there from Airflow 3.1 on, but only a thread works in every version and in dag.test.
    return await asyncio.to_thread(lambda: CordialHook(cordial_conn_id).connection)


def _retry_options(
    request: api.Request, connection: CordialConnection, warn: Any, *, attempts: int | None = None
) -> dict[str, Any]:
    """Return tenacity's options: the same for the hook and for the client."""
    from tenacity import retry_if_exception, stop_after_attempt, wait_random_exponential

    backoff = wait_random_exponential(multiplier=0.5, max=15)

    def asked_to_wait(state: RetryCallState) -> float | None:
        error = state.outcome.exception() if state.outcome else None
        return error.retry_after if isinstance(error, RateLimitError) else None

    def wait(state: RetryCallState) -> float:
        asked = asked_to_wait(state)
        # Jitter on top, so that tasks that were turned away together do not come back together.
        return backoff(state) if asked is None else asked + backoff(state)

    def told_to_wait_too_long(state: RetryCallState) -> bool:
        return (asked_to_wait(state) or 0) > connection.max_wait

    def log(state: RetryCallState) -> None:
        if warn and state.outcome and state.next_action:
            warn("%s Sending it again in %.1f s.", state.outcome.exception(), state.next_action.sleep)

    stop = stop_after_attempt(attempts or connection.attempts)
    return {
        "retry": retry_if_exception(lambda error: api.may_send_again(request, error)),
        "stop": lambda state: stop(state) or told_to_wait_too_long(state),
        "wait": wait,
        "before_sleep": log,
        "reraise": True,
    }


def _connection_failed(
    request: api.Request, connection: CordialConnection, error: Exception, *, sent: bool
) -> ConnectionFailedError:
    # Only the kind of the error is told: its text may repeat the whole address, or a proxy's with its password.
    kind = type(error).__name__
    advice = (
        f"Whether it reached {connection.base_url} is not known."
        if sent
        else f"It did not reach {connection.base_url}. Check the connection's host, the network and the proxy."
    )
    return ConnectionFailedError(f"{request}: no answer ({kind}). {advice}", sent=sent)


def _may_have_been_sent(error: Exception) -> bool:
    """Tell whether a request may have reached the server: anything but a connection that was never made."""
    import ssl

    import requests
    from urllib3.exceptions import NewConnectionError, ProxyError

    if isinstance(error, requests.ConnectTimeout | requests.exceptions.InvalidURL):
        return False
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, NewConnectionError | ProxyError):
        return False
    # A certificate is looked at before the first byte of the request goes out.
    return not any(isinstance(arg, ssl.SSLCertVerificationError) for arg in getattr(reason, "args", ()))


@cache
def _tls_context() -> ssl.SSLContext:
    """Trust whom requests trusts, so that the hook and the client reach the same servers."""
    import os
    import ssl
    from pathlib import Path

    import certifi

    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
