"""Destination: what every destination provides, and what reading a delivered file takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, Self

from airflow_provider_cordial._compat import BaseHook, mask_secret
from airflow_provider_cordial.exceptions import InvalidConnectionError, InvalidExportError

if TYPE_CHECKING:
    from airflow.sdk import Connection

_TYPES: dict[str, type[Destination]] = {}


@dataclass(frozen=True, slots=True)
class Address:
    """A destination with its Airflow connection read: what to send, and a URI without a secret.

    :param body: Cordial's ``destination`` object; it may contain secrets, so ``repr`` leaves it out.
    :param secrets: the values in the body that must not appear in a message.
    """

    body: dict[str, Any] = field(repr=False)
    uri: str
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file at the destination.

    :param size: bytes.
    :param modified: as reported by the server.
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
        """Return the file at a path, or None if it does not exist."""

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for reading as a stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination(ABC):
    """Where Cordial delivers the file: a place and an Airflow connection, never the secret itself.

    Subclasses are frozen dataclasses and register by their ``type``.
    """

    #: As Cordial spells it, in lower case as in all its JSON examples.
    type: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if "type" not in vars(cls):  # a base class for several types
            return
        known = _TYPES.get(cls.type)
        # A dataclass with slots is created twice.
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            msg = f"Destination type {cls.type!r} is already registered by {known.__module__}.{known.__qualname__}."
            raise TypeError(msg)
        _TYPES[cls.type] = cls

    @abstractmethod
    def address(self) -> Address:
        """Read the Airflow connection and return what to send; every secret in it is masked in the logs.

        :raises RefusedError: the connection or the destination is incomplete.
        """

    @abstractmethod
    def reader(self, *, timeout: float) -> AbstractContextManager[Reader]:
        """Connect for reading, through the matching Airflow hook.

        :param timeout: seconds without progress after which a connection or a read fails.
        :raises DestinationUnreachableError: the connection or the login failed.
        """

    @property
    def file_path(self) -> str | None:
        """The file's own path, if the destination's path names a file and not a folder."""
        return None

    @property
    def asset_uri(self) -> str | None:
        """The URI of the place as an Airflow asset, known without the connection; None if Airflow cannot read there."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without any secret."""
        return {"type": self.type, **{key: value for key, value in asdict(self).items() if value is not None}}

    def rendered(self, render: Callable[[str], str]) -> Self:
        """Return the destination with its texts rendered."""
        return replace(
            self,
            **{item.name: render(value) for item in fields(self) if isinstance(value := getattr(self, item.name), str)},
        )


def destination_from_json(record: Mapping[str, Any]) -> Destination:
    """Return the destination that ``Destination.to_json`` serialized.

    :raises InvalidExportError: the type or a member is unknown, or a member is missing. The message has no values,
        because one may be a secret that does not belong there.
    """
    members = {str(key): value for key, value in record.items() if key != "type"}
    cls = _TYPES.get(str(record.get("type")))
    if cls is None:
        msg = f"Invalid destination type {record.get('type')!r}: expected one of {', '.join(sorted(_TYPES))}."
        raise InvalidExportError(msg)
    known = {item.name: item for item in fields(cls)}
    if unknown := sorted(set(members) - set(known)):
        msg = f"Unknown member {unknown[0]!r} of destination {cls.type!r}: expected {', '.join(known) or 'none'}."
        raise InvalidExportError(msg)
    if missing := [name for name, item in known.items() if item.default is MISSING and name not in members]:
        msg = f"Missing member {missing[0]!r} of destination {cls.type!r}."
        raise InvalidExportError(msg)
    return cls(**members)


def airflow_connection(conn_id: str) -> Connection:
    """Read an Airflow connection and mask its password."""
    connection = BaseHook.get_connection(conn_id)
    if connection.password:
        mask_secret(connection.password)
    return connection


def login_body(kind: str, connection: Connection, path: str, default_port: int) -> dict[str, Any]:
    """Return what Cordial needs to log in to a server, except for the password.

    :raises RefusedError: host, user, or path is missing.
    """
    return {
        "type": kind,
        "server": required(connection, "host", "the server's name or address"),
        "port": connection.port or default_port,
        "username": required(connection, "login", "the user that Cordial writes as"),
        "path": normalize_folder(path),
    }


def server_uri(body: dict[str, Any]) -> str:
    """Return the URI of a ``login_body``: the place without the user."""
    server = f"[{body['server']}]" if ":" in body["server"] else body["server"]
    return f"{body['type']}://{server}:{body['port']}/{body['path'].lstrip('/')}"


def required(connection: Connection, field_name: str, meaning: str) -> str:
    """Return a field of an Airflow connection that must be set."""
    value = getattr(connection, field_name)
    if not value:
        msg = f"Airflow connection {connection.conn_id!r} has no {field_name}: set {meaning}."
        raise InvalidConnectionError(msg)
    return str(value)


def normalize_folder(path: str) -> str:
    """Return a folder's path without slashes at its end."""
    trimmed = path.strip().rstrip("/") or ("/" if path.strip().startswith("/") else "")
    if not trimmed:
        raise empty_path(path)
    return trimmed


def empty_path(path: str) -> InvalidExportError:
    return InvalidExportError(
        f"Invalid path {path!r} of the destination: expected the folder that Cordial delivers to."
    )
