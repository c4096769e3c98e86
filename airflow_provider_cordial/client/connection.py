"""CordialConnection: the Airflow connection of type ``cordial``, checked."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from airflow_provider_cordial.exceptions import InvalidConnectionError
from airflow_provider_cordial.get_provider_info import (
    CONNECTION_FIELDS,
    CONSOLES,
    DEFAULT_HOST,
    DEFAULT_TIMEZONE,
    OTHER_HOST,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection


_DEFAULT_PORTS = {"https": 443, "http": 80}

_DEFAULTS = {field.name: field.default for field in CONNECTION_FIELDS}


@dataclass(frozen=True, slots=True)
class CordialConnection:
    """How to reach one Cordial account.

    :param base_url: scheme and host, without a path.
    :param api_key: the Basic user name; the password is blank.
    :param timezone: the account's time zone, in which a day of the trends begins and ends.
    :param connect_timeout: seconds.
    :param read_timeout: seconds between two parts of an answer.
    :param export_timeout: the same for the submission of an export, whose answer may wait for Cordial's check of the
        destination.
    :param attempts: how often a repeatable request is sent at most.
    :param max_wait: seconds; a longer wait that Cordial asks for is an error.
    :param not_found_grace: seconds during which a new job may be unknown to Cordial.
    :param requests_per_minute: maximum number of requests of a triggerer, shared by all its waits.
    :param rejection_grace: seconds during which a wait tolerates 401 and 403: a key is rotated, a firewall is updated.
    :param jobs_page: the address of the account's Jobs page; ``{job_id}`` in it is the job.
    """

    base_url: str
    api_key: str = field(repr=False)
    timezone: ZoneInfo
    connect_timeout: float
    read_timeout: float
    export_timeout: float
    attempts: int
    max_wait: float
    not_found_grace: float
    requests_per_minute: float
    rejection_grace: float
    jobs_page: str

    def job_url(self, job_id: str) -> str:
        """Return the address of a job's page."""
        return self.jobs_page.replace("{job_id}", quote(job_id, safe=""))

    @property
    def total_timeout(self) -> float:
        """Seconds for a whole status request: the read timeout, once for the connection and once for the answer."""
        return self.connect_timeout + self.read_timeout

    @property
    def basic_token(self) -> str:
        """The API key and a blank password, as the ``Authorization`` header contains them after ``Basic``."""
        return base64.b64encode(f"{self.api_key}:".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The API key in every form in which it is sent."""
        return (self.api_key, self.basic_token)

    @classmethod
    def from_airflow(cls, connection: Connection) -> CordialConnection:
        """Read an Airflow connection.

        :raises InvalidConnectionError: a field is missing or invalid; the message never contains the API key.
        """
        name = f"Airflow connection {connection.conn_id!r}"
        if not connection.password:
            hint = " Move it from the login field." if connection.login else ""
            msg = f"{name} has no API key: paste the raw Cordial API key into the password field.{hint}"
            raise InvalidConnectionError(msg)
        try:
            extra = connection.extra_dejson
        except Exception:  # noqa: BLE001 - the text of the error would repeat the extra, which may contain secrets
            extra = None
        if not isinstance(extra, dict):
            msg = f"Invalid extra of {name}: expected a JSON object."
            raise InvalidConnectionError(msg)

        def number(key: str) -> float:
            given = extra.get(key)
            return _positive(name, key, _DEFAULTS[key] if given in (None, "") else given)

        base_url = _base_url(name, connection, allow_http=extra.get("allow_http") in (True, "true"))
        return cls(
            base_url=base_url,
            api_key=_api_key(name, connection.password),
            timezone=_timezone(name, extra.get("timezone") or DEFAULT_TIMEZONE),
            connect_timeout=number("connect_timeout"),
            read_timeout=number("read_timeout"),
            export_timeout=number("export_timeout"),
            attempts=max(1, int(number("attempts"))),
            max_wait=number("max_wait"),
            not_found_grace=number("not_found_grace"),
            requests_per_minute=number("requests_per_minute"),
            rejection_grace=number("rejection_grace"),
            jobs_page=_jobs_page(name, extra.get("jobs_page"), base_url),
        )


def _api_key(name: str, given: str) -> str:
    """Return the key, if it is not what an HTTP client makes of it."""
    key = given.strip()
    problem = ""
    if (scheme := re.match(r"(basic|bearer|authorization:)\s", key, re.IGNORECASE)) is not None:
        problem = f"it begins with {scheme[1]!r}"
    elif key.endswith(":"):
        problem = "it ends with a colon"
    elif _decodes_to_a_key(key):
        problem = "it is encoded in base64, with a colon after the key"
    if problem:
        msg = f"Invalid API key of {name}: {problem}. Paste the raw Cordial API key into the password field."
        raise InvalidConnectionError(msg)
    return key


def _decodes_to_a_key(text: str) -> bool:
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return len(decoded) > 1 and decoded.endswith(b":") and decoded.isascii() and decoded.decode("ascii").isprintable()


def _base_url(name: str, connection: Connection, *, allow_http: bool) -> str:
    host = (connection.host or DEFAULT_HOST).strip()
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    try:
        parts = urlsplit(url)
        port = connection.port or parts.port
    except ValueError:
        parts, port = urlsplit("//"), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        msg = f"Invalid host {_without_user(host)!r} of {name}: expected {DEFAULT_HOST} or {OTHER_HOST}."
        raise InvalidConnectionError(msg)
    # People paste the address of the API with its version; every path already starts with it.
    if parts.path.rstrip("/") not in ("", "/v2"):
        msg = f"Invalid host {_without_user(host)!r} of {name}: expected a scheme and a host, without a path."
        raise InvalidConnectionError(msg)
    is_cordial = parts.hostname == "cordial.io" or parts.hostname.endswith(".cordial.io")
    if parts.scheme == "http" and not _is_loopback(parts.hostname) and (is_cordial or not allow_http):
        msg = (
            f"Invalid host {_without_user(host)!r} of {name}: expected https, because http would send the API key in "
            "clear text. http is accepted only for a host on this machine, and, with allow_http in the extra, for a "
            "local Cordial on another one."
        )
        raise InvalidConnectionError(msg)
    if port == _DEFAULT_PORTS[parts.scheme]:  # of the same base URL, and so of the same console
        port = None
    hostname = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{hostname}" + (f":{port}" if port else "")


def _jobs_page(name: str, given: Any, base_url: str) -> str:
    if not given:
        # The address of a single job in the console is not documented.
        return CONSOLES.get(base_url, f"{base_url}/jobs/{{job_id}}")
    if not str(given).startswith(("https://", "http://")):
        msg = (
            f"Invalid jobs_page {given!r} in the extra of {name}: expected an address such as {CONSOLES[DEFAULT_HOST]}."
        )
        raise InvalidConnectionError(msg)
    return str(given)


def _without_user(host: str) -> str:
    """Return the host without a user and password, which would be a secret."""
    return host.rpartition("@")[2]


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _timezone(name: str, value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, TypeError, OSError):
        msg = f"Invalid timezone {value!r} in the extra of {name}: expected an IANA name such as {DEFAULT_TIMEZONE}."
        raise InvalidConnectionError(msg) from None


def _positive(name: str, key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < float("inf"):
        msg = f"Invalid {key} {value!r} in the extra of {name}: expected a number above 0."
        raise InvalidConnectionError(msg)
    return number
