"""CordialHook: the connection, Basic auth, and requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial._compat import BaseHook, mask_secret
from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.retries import HEADERS, connection_failed, retry_options
from airflow_provider_cordial.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    CordialError,
    NotFoundError,
    PermissionDeniedError,
)
from airflow_provider_cordial.get_provider_info import EXTRA_FIELDS, HIDDEN_FIELDS, PLACEHOLDERS, RELABELING

if TYPE_CHECKING:
    import requests

    from airflow_provider_cordial.client.job import Job


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
        return api.parse_job_id(request, self._run(request))

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
        return api.parse_job(request, self._run(request), job_id)

    def list_jobs(self, *, per_page: int = api.PER_PAGE, filters: Mapping[str, str] | None = None) -> Iterator[Job]:
        """Yield all jobs that the filters let through, page after page, in Cordial's order (not documented).

        :param per_page: asked for; Cordial's maximum is not documented, so a smaller page is not taken for the last.
        :param filters: passed on as they are, ``{"status": "Done"}`` for instance.
        """
        before: list[Job] = []
        for page in range(1, api.MAX_PAGES + 1):
            request = api.list_jobs(page=page, per_page=per_page, filters=filters)
            try:
                jobs = api.parse_jobs(request, self._run(request))
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
            api.parse_jobs(request, self._send(request))
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

        return Retrying(**retry_options(request, self.connection, self.log.warning))(self._send, request)

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
            raise connection_failed(request, connection, error, sent=_may_have_been_sent(error)) from None
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


async def read_connection(cordial_conn_id: str) -> CordialConnection:
    """Read and check an Airflow connection without holding up the event loop."""
    # aget_connection is there from Airflow 3.1 on, but only a thread works in every version and in dag.test.
    return await asyncio.to_thread(lambda: CordialHook(cordial_conn_id).connection)


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
