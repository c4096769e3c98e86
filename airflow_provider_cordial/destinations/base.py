"""What every destination can say, and what reading a delivered file takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, Self

from airflow_provider_cordial._compat import BaseHook, mask_secret
from airflow_provider_cordial.exceptions import InvalidConnectionError, InvalidExportError

if TYPE_CHECKING:
    from airflow.sdk import Connection


@dataclass(frozen=True, slots=True)
class Address:
    """A destination with its Airflow connection read: what to send, and a URI without a secret.

    :param body: Cordial's ``destination`` object; holds secrets, so it is left out of ``repr``.
    """

    body: dict[str, Any] = field(repr=False)
    uri: str


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file at the destination.

    :param size: bytes.
    :param modified: as the server says.
    """

    path: str
    size: int
    modified: datetime

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Reader(Protocol):
    """An open connection to a destination."""

    def files(self) -> list[DeliveredFile]:
        """Return the files in the destination's folder."""

    def stat(self, path: str) -> DeliveredFile | None:
        """Return the file of that path, or None where there is none."""

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for reading as a stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination(ABC):
    """Where Cordial delivers the file: a place and an Airflow connection, never the secret itself."""

    #: As Cordial spells it, in lower case as in all its JSON examples.
    type: ClassVar[str]

    @abstractmethod
    def address(self) -> Address:
        """Read the Airflow connection and return what to send; every secret in it is masked in the logs.

        :raises RefusedError: the connection or the destination lacks something.
        """

    @abstractmethod
    def reader(self, *, timeout: float) -> AbstractContextManager[Reader]:
        """Connect for reading, through the matching Airflow hook.

        :param timeout: seconds after which a connection or a read that does not go on is given up.
        :raises DestinationUnreachableError: no connection, or no login.
        """

    @property
    def file_path(self) -> str | None:
        """The file's own path, where the destination's path names a file and not a folder."""
        return None

    @property
    def asset_uri(self) -> str | None:
        """The place's name among Airflow's assets, which takes no connection to tell; None where nobody can read."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, with no secret in it."""
        return {"type": self.type, **{key: value for key, value in asdict(self).items() if value is not None}}

    def rendered(self, render: Callable[[str], str]) -> Self:
        """Return the destination with its texts rendered."""
        return replace(
            self,
            **{item.name: render(value) for item in fields(self) if isinstance(value := getattr(self, item.name), str)},
        )


def airflow_connection(conn_id: str) -> Connection:
    """Read an Airflow connection and mask what is secret in it."""
    connection = BaseHook.get_connection(conn_id)
    if connection.password:
        mask_secret(connection.password)
    return connection


def login_body(kind: str, connection: Connection, path: str, default_port: int) -> dict[str, Any]:
    """Return what Cordial needs to log in to a server, but for the password.

    :raises RefusedError: host, user or path is missing.
    """
    return {
        "type": kind,
        "server": required(connection, "host", "the server's name or address"),
        "port": connection.port or default_port,
        "username": required(connection, "login", "the user that Cordial writes as"),
        "path": folder(path),
    }


def server_uri(body: dict[str, Any]) -> str:
    """Return the URI of a ``login_body``: it names the place, and not the user."""
    server = f"[{body['server']}]" if ":" in body["server"] else body["server"]
    return f"{body['type']}://{server}:{body['port']}/{body['path'].lstrip('/')}"


def required(connection: Connection, field_name: str, meaning: str) -> str:
    """Return a field of an Airflow connection that must be there."""
    value = getattr(connection, field_name)
    if not value:
        msg = f"Airflow connection {connection.conn_id!r}: {field_name} is empty. Give {meaning}."
        raise InvalidConnectionError(msg)
    return str(value)


def folder(path: str) -> str:
    """Return a folder's path without stray slashes at its end."""
    trimmed = path.strip().rstrip("/") or ("/" if path.strip().startswith("/") else "")
    if not trimmed:
        msg = f"path {path!r} of the destination is empty. Name the folder that Cordial delivers to."
        raise InvalidExportError(msg)
    return trimmed
