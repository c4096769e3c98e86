"""CordialHook: the connection, Basic auth, and requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial._compat import AirflowNotFoundException, BaseHook, mask_secret
from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.airflow_connections import missing_connection
from airflow_provider_cordial.client.bounded import call_within
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.client.pages import JobPages
from airflow_provider_cordial.client.retries import retry_options
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    CordialError,
    InvalidConnectionError,
    MissingConnectionError,
    NotFoundError,
    PermissionDeniedError,
)
from airflow_provider_cordial.get_provider_info import CONNECTION_FIELDS, HIDDEN_FIELDS, PLACEHOLDERS, RELABELING

if TYPE_CHECKING:
    import requests


class CordialHook(BaseHook):
    """Call Cordial's v2 API over HTTPS with Basic auth: the API key as user name, a blank password.

    Each hook has one session with keep-alive. GETs are retried on 429, 5xx, unreadable answers, and connection errors,
    up to ``attempts`` times; an export only if it certainly did not reach Cordial.

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
        #: Used while Airflow cannot read the connection again.
        self._last_connection: CordialConnection | None = None

    @cached_property
    def connection(self) -> CordialConnection:
        """The Airflow connection, read once and checked; from then on its API key is masked in the logs.

        :raises MissingConnectionError: the connection does not exist, or Airflow cannot reach its database.
        :raises InvalidConnectionError: the connection is invalid.
        """
        try:
            return self._read_connection()
        except Exception as error:
            is_temporary = isinstance(error, MissingConnectionError) or not isinstance(error, CordialError)
            if self._last_connection is None or not is_temporary:
                raise
            # Only the class: the text may contain a secret.
            text = "Cannot read connection %s again (%s); using its last values"
            self.log.warning(text, self.cordial_conn_id, type(error).__name__)
            return self._last_connection

    def _read_connection(self) -> CordialConnection:
        try:
            airflow_connection = self.get_connection(self.cordial_conn_id)
        except AirflowNotFoundException:
            raise missing_connection(self.cordial_conn_id, "cordial", "--conn-password <API key>") from None
        connection = CordialConnection.from_airflow(airflow_connection)
        for secret in connection.secrets:
            mask_secret(secret)
        return connection

    @cached_property
    def _session(self) -> requests.Session:
        import requests
        from requests.auth import HTTPBasicAuth

        session = requests.Session()
        session.headers.update(api.HEADERS)
        session.auth = HTTPBasicAuth(self.connection.api_key.encode(), b"")
        return session

    def get_conn(self) -> requests.Session:
        """Return the session: authenticated, with keep-alive."""
        return self._session

    def create_export(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        secrets: Iterable[str] = (),
        error_hint: str = "",
        before_send: Callable[[], None] | None = None,
    ) -> str:
        """Submit an export and return the job id.

        :param kind: the endpoint, ``audiencetrendsexport`` for instance.
        :param body: as Cordial documents it, destination included.
        :param secrets: the parts of the body that must not appear in an error.
        :param error_hint: what to check when Cordial rejects the export's configuration.
        :param before_send: called before each attempt.
        :raises CordialError: a ``RefusedError`` if Cordial rejects the export. After an error with which the export may
            have been accepted, it is not submitted again here.
        """
        request = self._with_secrets(api.create_export(kind, body, secrets=secrets, error_hint=error_hint))
        return api.parse_job_id(request, self._run(request, before_send=before_send))

    def get_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Return the current state of a job.

        :param timeout: seconds for all attempts together; by default each attempt has the connection's timeouts.
        :raises NotFoundError: Cordial does not know the job (yet).
        """
        request = self._with_secrets(api.get_job(job_id))
        return api.parse_job(request, self._run(request, timeout), job_id)

    def list_jobs(
        self,
        *,
        per_page: int = api.PER_PAGE,
        filters: Mapping[str, str] | None = None,
        pages: JobPages | None = None,
    ) -> Iterator[Job]:
        """Yield all jobs that match the filters, page by page, in Cordial's order (not documented).

        :param per_page: the requested size; Cordial's maximum is not documented, so a smaller page is not the last.
        :param filters: passed unchanged, ``{"status": "Done"}`` for instance.
        :param pages: knows afterwards whether the list was complete.
        """
        pages = pages or JobPages()
        while pages.next_page is not None:
            request = self._with_secrets(api.list_jobs(page=pages.next_page, per_page=per_page, filters=filters))
            try:
                records = api.parse_records(request, self._run(request))
            except NotFoundError as error:  # documented for the list too: no match
                if not error.is_from_cordial:
                    raise
                records = []
            yield from map(Job.from_record, pages.add(records))

    def first_jobs(self, *, per_page: int = api.PER_PAGE) -> list[Job]:
        """Return the first page of the jobs from a single request, which is not retried: to check a connection."""
        request = self._with_secrets(api.list_jobs(per_page=per_page))
        try:
            return api.parse_jobs(request, self._send(request))
        except NotFoundError:  # authenticated, and no job yet
            return []

    def test_connection(self) -> tuple[bool, str]:
        """Send one authenticated ``GET /v2/jobs?per_page=1`` and describe the result."""
        try:
            self.first_jobs(per_page=1)
        except (AuthenticationError, ConnectionFailedError, InvalidConnectionError, PermissionDeniedError) as error:
            return False, error.message
        except CordialError as error:
            return False, f"{self.cordial_conn_id} reaches a server with an unexpected answer. {error.message}"
        except Exception as error:  # noqa: BLE001 - the form shows any message
            return False, str(error)
        return True, f"Connected to {self.connection.base_url}; the API key is accepted."

    def reconnect(self) -> None:
        """Read the Airflow connection again at the next request."""
        self._last_connection = self.__dict__.pop("connection", self._last_connection)
        self.__dict__.pop("_session", None)

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _with_secrets(self, request: api.Request) -> api.Request:
        return request.with_secrets(self.connection.secrets)

    def _run(
        self, request: api.Request, timeout: float | None = None, *, before_send: Callable[[], None] | None = None
    ) -> Any:
        """Send a request, again if that is safe, and return the content of the answer."""
        from tenacity import Retrying

        options = retry_options(request, self.connection, self.log.warning, timeout=timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        if before_send is not None:
            options["before"] = lambda _: before_send()
        return Retrying(**options)(self._send, request, deadline)

    def _send(self, request: api.Request, deadline: float | None = None) -> Any:
        import requests

        connection = self.connection
        seconds = (
            connection.connect_timeout + connection.export_timeout if request.is_export else connection.total_timeout
        )
        if deadline is not None:
            seconds = max(0.0, min(seconds, deadline - time.monotonic()))
        try:
            answer = call_within(seconds, lambda: self._exchange(request))
        except requests.RequestException as error:
            raise api.connection_failed(request, connection.base_url, error, sent=_may_have_been_sent(error)) from None
        except TimeoutError as error:
            # The abandoned request still uses the session.
            self.__dict__.pop("_session", None)
            raise api.connection_failed(request, connection.base_url, error, sent=True) from None
        return api.interpret(request, answer)

    def _exchange(self, request: api.Request) -> api.Answer:
        connection = self.connection
        read_timeout = connection.export_timeout if request.is_export else connection.read_timeout
        with self._session.request(
            request.method,
            connection.base_url + request.path,
            params=list(request.params),
            json=request.body,
            timeout=(connection.connect_timeout, read_timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(1 << 16):
                body += chunk
                if len(body) > api.MAX_ANSWER:
                    raise api.answer_too_large(request, response.status_code)
            return api.Answer(response.status_code, response.headers, bytes(body))

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Describe the form's extra fields to Airflow before 3.2; later versions read the provider's metadata.

        Those versions drop the whole connection type if a field is of a class other than string, integer, password, or
        boolean. So their form takes whole numbers; a fraction can be set in the extra's JSON.
        """
        from wtforms import IntegerField, StringField

        types = {"string": StringField, "number": IntegerField, "integer": IntegerField}
        return {field.name: types[field.json_type](field.label, description=field.help) for field in CONNECTION_FIELDS}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the form's standard fields to Airflow before 3.2; later versions read the provider's metadata."""
        return {"hidden_fields": HIDDEN_FIELDS, "relabeling": RELABELING, "placeholders": PLACEHOLDERS}


async def read_connection(cordial_conn_id: str) -> CordialConnection:
    """Read and check an Airflow connection without blocking the event loop."""
    from asgiref.sync import sync_to_async

    # A plain thread, as of asyncio.to_thread, would get an event loop of its own for Airflow's connection to the
    # triggerer's supervisor, which kills the triggerers of Airflow 3.0 and 3.1. aget_connection exists from 3.1 on.
    return await sync_to_async(lambda: CordialHook(cordial_conn_id).connection)()


def _may_have_been_sent(error: Exception) -> bool:
    """Return whether a request may have reached the server: always, unless no connection was established."""
    import ssl

    import requests
    from urllib3.exceptions import NewConnectionError, ProxyError

    if isinstance(error, requests.ConnectTimeout | requests.exceptions.InvalidURL):
        return False
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, NewConnectionError | ProxyError):
        return False
    # A certificate is verified before the first byte of the request is sent.
    return not any(isinstance(arg, ssl.SSLCertVerificationError) for arg in getattr(reason, "args", ()))
