"""Destination: what every destination provides, and what reading a delivered file takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, Self, TypeVar

from airflow_provider_cordial._compat import mask_secret
from airflow_provider_cordial.exceptions import InvalidConnectionError, InvalidExportError, MissingExtraError

if TYPE_CHECKING:
    from airflow.sdk import Connection

_T = TypeVar("_T")

_TYPES: dict[str, type[Destination]] = {}


@dataclass(frozen=True, slots=True)
class Address:
    """A destination with its Airflow connection read: what to send, and a URI without a secret.

    :param body: Cordial's ``destination`` object; it may contain secrets, so ``repr`` leaves it out.
    :param secrets: the secret values in the body. They are masked in the logs and in errors that quote an answer.
    """

    body: dict[str, Any] = field(repr=False)
    uri: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for secret in self.secrets:
            mask_secret(secret)


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file at the destination.

    :param size: bytes; None if the server does not report it.
    :param modified: as reported by the server; None if it is not.
    """

    path: str
    size: int | None
    modified: datetime | None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@contextmanager
def requires_extra(name: str) -> Iterator[None]:
    """Import what an extra of this distribution installs.

    :raises MissingExtraError: it is not installed here.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        msg = (
            f"Missing package {error.name!r}: this destination needs the extra {name!r}. Install it where the task "
            f"runs: pip install 'airflow-provider-cordial[{name}]'"
        )
        raise MissingExtraError(msg) from error


class Reader(Protocol):
    """An open connection to a destination.

    Every method, and every read of a stream, raises a ``DeliveryError`` where the server is the cause.
    """

    def files(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:
        """Return the files in the destination's folder.

        :param matches: whether a file of this name is of interest. If the listing lacks its type, size, or time, the
            server is asked for them; the size and time of the other files may be None.
        :raises FolderNotListedError: the server does not list the folder, and may do so later.
        """

    def stat(self, path: str) -> DeliveredFile | None:
        """Return the file at a path, or None if it does not exist."""

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for reading as a stream.

        :raises FileChangedError: it does not exist any more.
        """


class GuardedStream:
    """A stream whose reads raise the errors of the destination.

    Only the client's own calls are guarded: an error in the code that uses the stream is not the destination's.

    :param guard: translates the errors of the client.
    """

    def __init__(self, stream: SupportsRead, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._stream = stream
        self._guard = guard

    def read(self, size: int = -1) -> bytes:
        with self._guard():
            return self._stream.read(size)


class SupportsRead(Protocol):
    """What is read of a stream."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to so many bytes, and none at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination(ABC):
    """Where Cordial delivers the file: a place and an Airflow connection, never the secret itself.

    Subclasses are frozen dataclasses and register by their ``type``.
    """

    #: As Cordial spells it, in lower case as in all its JSON examples.
    type: ClassVar[str]

    #: The type of its Airflow connection.
    conn_type: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if "type" in vars(cls):  # not a base class for several types
            register_once(_TYPES, cls.type, cls, "Destination type")

    @abstractmethod
    def address(self) -> Address:
        """Read the Airflow connection and return what to send, with every secret in it named.

        :raises RefusedError: the connection or the destination is incomplete.
        """

    @abstractmethod
    def reader(self, *, timeout: float) -> AbstractContextManager[Reader]:
        """Connect for reading, through the matching Airflow hook.

        :param timeout: seconds without progress after which a connection or a read fails.
        :raises DestinationUnreachableError: the connection failed.
        :raises DestinationAccessError: the server rejects the login.
        """

    @property
    def file_path(self) -> str | None:
        """The path of the file, if the destination names a file and not a folder."""
        return None

    @property
    def asset_uri(self) -> str | None:
        """The URI as an Airflow asset, known without the connection; None if Airflow cannot read there."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without any secret."""
        return {"type": self.type, **{key: value for key, value in asdict(self).items() if value is not None}}

    def rendered(self, render: Callable[[str], str]) -> Self:
        """Return the destination with every string rendered."""
        return replace(
            self,
            **{item.name: render(value) for item in fields(self) if isinstance(value := getattr(self, item.name), str)},
        )


def register_once(registry: dict[str, type[_T]], key: str, cls: type[_T], what: str) -> None:
    """Register a class under its key.

    :raises TypeError: the key belongs to another class.
    """
    known = registry.get(key)
    # A dataclass with slots is created twice.
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        msg = f"{what} {key!r} is already registered by {known.__module__}.{known.__qualname__}."
        raise TypeError(msg)
    registry[key] = cls


def destination_from_json(record: Mapping[str, Any]) -> Destination:
    """Return the destination that ``Destination.to_json`` serialized.

    :raises InvalidExportError: the type or a member is unknown or missing. The message contains no value of a member,
        because one may be a misplaced secret.
    """
    cls = _registered_type(record.get("type"))
    members = {str(key): value for key, value in record.items() if key != "type"}
    known = {item.name: item for item in fields(cls)}
    if unknown := sorted(members.keys() - known.keys()):
        expected = ", ".join(known) or "none"
        msg = f"Unknown members of destination {cls.type!r}: {', '.join(unknown)}. Expected: {expected}."
        raise InvalidExportError(msg)
    if missing := [name for name, item in known.items() if _is_required(item) and name not in members]:
        msg = f"Missing members of destination {cls.type!r}: {', '.join(missing)}."
        raise InvalidExportError(msg)
    return cls(**members)


def _registered_type(name: object) -> type[Destination]:
    types = ", ".join(sorted(_TYPES))
    if not isinstance(name, str):
        msg = f"Invalid destination: expected a member 'type', one of {types}."
        raise InvalidExportError(msg)
    if name not in _TYPES:
        msg = f"Invalid destination type {name!r}: expected one of {types}. Import the module of a custom type first."
        raise InvalidExportError(msg)
    return _TYPES[name]


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def build_login(destination_type: str, connection: Connection, path: str, default_port: int) -> dict[str, Any]:
    """Return the part of the body with which Cordial logs in to a server, without the password.

    :raises RefusedError: the host, the login, or the path is missing.
    """
    return {
        "type": destination_type,
        "server": require_field(connection, "host", "the server's name or address"),
        "port": connection.port or default_port,
        "username": require_field(connection, "login", "the user that Cordial writes as"),
        "path": normalize_folder(path),
    }


def build_server_uri(body: dict[str, Any]) -> str:
    """Return the URI of the folder that a ``build_login`` names, without the user."""
    server = f"[{body['server']}]" if ":" in body["server"] else body["server"]
    return f"{body['type']}://{server}:{body['port']}/{body['path'].lstrip('/')}"


def require_field(connection: Connection, field_name: str, meaning: str) -> str:
    """Return a field of an Airflow connection, or raise if it is not set.

    :raises InvalidConnectionError: it is not set; the message contains its meaning.
    """
    value = getattr(connection, field_name)
    if not value:
        msg = f"Airflow connection {connection.conn_id!r} has no {field_name}: set {meaning}."
        raise InvalidConnectionError(msg)
    return str(value)


def normalize_folder(path: str) -> str:
    """Return a folder's path without trailing slashes; the root is ``/``.

    :raises InvalidExportError: the path is empty.
    """
    return require_path(path, path.strip().rstrip("/") or ("/" if path.strip().startswith("/") else ""))


def require_path(given: str, normalized: str) -> str:
    """Return the normalized path, or raise if nothing of the given one is left.

    :raises InvalidExportError: the path is empty.
    """
    if not normalized:
        msg = f"Invalid path {given!r} of the destination: expected the folder that Cordial delivers to."
        raise InvalidExportError(msg)
    return normalized
