"""The Airflow connection of type ``cordial``, read and checked."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from airflow_provider_cordial.exceptions import InvalidConnectionError
from airflow_provider_cordial.get_provider_info import DEFAULT_HOST, DEFAULT_TIMEZONE, EXTRA_FIELDS, OTHER_HOST

if TYPE_CHECKING:
    from airflow.sdk import Connection


@dataclass(frozen=True, slots=True)
class CordialConnection:
    """How to reach one Cordial account.

    :param base_url: scheme and host, without a path.
    :param api_key: the Basic user name; the password is blank.
    :param timezone: the account's time zone, in which a day of the trends begins and ends.
    :param connect_timeout: seconds.
    :param read_timeout: seconds, between two pieces of an answer.
    :param export_timeout: the same for the submission of an export, whose answer may wait for Cordial's look at the
        destination.
    :param attempts: how often a request is sent at most, where sending it again is safe.
    :param max_wait: seconds; a wait that Cordial asks for is kept up to this, a longer one is an error.
    :param not_found_grace: seconds in which a job that was just submitted may still be unknown.
    :param requests_per_minute: how many requests a triggerer sends at most, for all its waits together.
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

    @property
    def basic_token(self) -> str:
        """What follows ``Basic`` in the ``Authorization`` header: the API key and a blank password."""
        return base64.b64encode(f"{self.api_key}:".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The API key in the forms in which it travels."""
        return (self.api_key, self.basic_token)

    @classmethod
    def from_airflow(cls, connection: Connection) -> CordialConnection:
        """Read an Airflow connection.

        :raises InvalidConnectionError: naming the connection, the field, the value and the fix.
        """
        name = f"Airflow connection {connection.conn_id!r}"
        if not connection.password:
            hint = " It is in the login field: move it." if connection.login else ""
            msg = f"{name}: the password field is empty. Paste the raw Cordial API key into it.{hint}"
            raise InvalidConnectionError(msg)
        try:
            extra = connection.extra_dejson
        except Exception:  # noqa: BLE001 - the text of the error would repeat the extra, which may hold secrets
            extra = None
        if not isinstance(extra, dict):
            msg = f"{name}: the extra field is not a JSON object. Correct it."
            raise InvalidConnectionError(msg)

        def number(key: str) -> float:
            given = extra.get(key)
            return _positive(name, key, EXTRA_FIELDS[key][2] if given in (None, "") else given)

        return cls(
            base_url=_base_url(name, connection),
            api_key=connection.password,
            timezone=_timezone(name, extra.get("timezone") or DEFAULT_TIMEZONE),
            connect_timeout=number("connect_timeout"),
            read_timeout=number("read_timeout"),
            export_timeout=number("export_timeout"),
            attempts=max(1, int(number("attempts"))),
            max_wait=number("max_wait"),
            not_found_grace=number("not_found_grace"),
            requests_per_minute=number("requests_per_minute"),
        )


def _base_url(name: str, connection: Connection) -> str:
    host = (connection.host or DEFAULT_HOST).strip()
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    try:
        parts = urlsplit(url)
        port = connection.port or parts.port
    except ValueError:
        parts, port = urlsplit("//"), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        msg = f"{name}: the host {_without_user(host)!r} is no address. Use {DEFAULT_HOST} or {OTHER_HOST}."
        raise InvalidConnectionError(msg)
    # People paste the address of the API with its version; every path already begins with it.
    if parts.path.rstrip("/") not in ("", "/v2"):
        msg = f"{name}: the host {_without_user(host)!r} has a path. Give the scheme and the host only."
        raise InvalidConnectionError(msg)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        msg = (
            f"{name}: the host {_without_user(host)!r} is not https. The API key would travel in clear; "
            "http is accepted for a host on this machine only."
        )
        raise InvalidConnectionError(msg)
    hostname = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{hostname}" + (f":{port}" if port else "")


def _without_user(host: str) -> str:
    """A user and password in the address would be a secret."""
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
        msg = f"{name}: the extra timezone {value!r} is no IANA time zone. Use a name such as {DEFAULT_TIMEZONE}."
        raise InvalidConnectionError(msg) from None


def _positive(name: str, key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < float("inf"):
        msg = f"{name}: the extra {key} {value!r} is not a number above 0. Correct it."
        raise InvalidConnectionError(msg)
    return number
