"""AzureBlobDestination: a container of Azure Blob Storage."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_cordial.destinations.base import (
    Address,
    DeliveredFile,
    Destination,
    GuardedStream,
    requires_extra,
)
from airflow_provider_cordial.destinations.object_paths import (
    normalize_bucket,
    normalize_key,
    parse_file_key,
    strip_scheme,
)
from airflow_provider_cordial.exceptions import (
    DestinationAccessError,
    DestinationUnreachableError,
    FileChangedError,
    FolderNotListedError,
    InvalidConnectionError,
    InvalidExportError,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import BlobClient, ContainerClient

#: Bytes of one request while a file is read.
_CHUNK = 1 << 22

_RETRIES = 1

#: The codes of credentials that are valid, but not for this request.
_NOT_PERMITTED = ("AuthorizationPermissionMismatch", "AuthorizationResourceTypeMismatch")


@dataclass(frozen=True, kw_only=True, slots=True)
class AzureBlobDestination(Destination):
    """A container of Azure Blob Storage, written to by Cordial and read by Airflow's WasbHook.

    Cordial writes with the access that was granted to its account: no credentials are sent.

    :param account: the storage account's name (templated).
    :param container: the container's name (templated).
    :param path: the folder, or the file, if the last part has an extension (templated).
    :param conn_id: an Airflow connection of type ``wasb`` to that account, for reading only.

    Source: Cordial's Swagger document; its article on the export does not mention this destination.
    """

    type = "azureblob"
    conn_type = "wasb"

    account: str
    container: str
    path: str
    conn_id: str = "wasb_default"

    def address(self) -> Address:
        account, container = _validate_account(self.account), normalize_bucket("container", self.container, "wasbs")
        body = {"type": self.type, "account": account, "container": container, "path": normalize_key(self.path)}
        return Address(body=body, uri=f"wasbs://{container}@{account}/{body['path']}")

    @property
    def file_path(self) -> str | None:
        return parse_file_key(self.path)

    @property
    def asset_uri(self) -> str:
        container = strip_scheme(self.container, "wasbs")
        return f"wasbs://{container}@{self.account.strip()}/{self.path.strip().strip('/')}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[AzureBlobReader]:
        with requires_extra("microsoft-azure"):
            from airflow.providers.microsoft.azure.hooks.wasb import WasbHook

        account, path = _validate_account(self.account), normalize_key(self.path)
        container = normalize_bucket("container", self.container, "wasbs")
        guard = partial(
            _guard, f"container {container!r} of account {account!r} with Airflow connection {self.conn_id!r}"
        )
        with guard():
            client = WasbHook(wasb_conn_id=self.conn_id).get_conn()
        with client:
            if client.account_name not in (None, account):
                msg = (
                    f"Airflow connection {self.conn_id!r} belongs to storage account {client.account_name!r}, but "
                    f"the destination is account {self.account!r}. Use a connection of that account."
                )
                raise InvalidConnectionError(msg)
            yield AzureBlobReader(client.get_container_client(container), path, timeout, guard)


class AzureBlobReader:
    """The blobs under the destination's path.

    :param guard: translates the errors of the client.
    """

    def __init__(
        self,
        container: ContainerClient,
        path: str,
        timeout: float,
        guard: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._container = container
        self._path = path
        self._guard = guard
        # By default a request waits for minutes, and its retries take even longer.
        self._options: dict[str, Any] = {
            "connection_timeout": timeout,
            "read_timeout": timeout,
            "retry_total": _RETRIES,
        }

    def files(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:  # noqa: ARG002 - a listing has it all
        from azure.core.exceptions import HttpResponseError
        from azure.storage.blob import BlobPrefix

        with self._guard():
            try:
                found = self._container.walk_blobs(name_starts_with=f"{self._path}/", delimiter="/", **self._options)
                return [
                    DeliveredFile(blob.name, blob.size, blob.last_modified)
                    for blob in found
                    if not isinstance(blob, BlobPrefix)
                ]
            except HttpResponseError as error:
                if _error_code(error) not in _NOT_PERMITTED:
                    raise
                msg = (
                    f"Azure does not list {self._container.container_name}/{self._path}: {_reason(error)}. Allow the "
                    "credentials of the Airflow connection to list and read blobs."
                )
                raise FolderNotListedError(msg, folder=self._path) from error

    def stat(self, path: str) -> DeliveredFile | None:
        from azure.core.exceptions import ResourceNotFoundError

        with self._guard():
            try:
                blob = self._container.get_blob_client(path).get_blob_properties(**self._options)
            except ResourceNotFoundError:
                return None
        return DeliveredFile(path, blob.size, blob.last_modified)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        @contextmanager
        def guard() -> Iterator[None]:
            with self._guard():
                try:
                    yield
                except (ResourceModifiedError, ResourceNotFoundError) as error:
                    msg = f"Blob {path!r} was replaced or deleted: {_reason(error)}. Retry the task."
                    raise FileChangedError(msg) from error

        with guard():
            blob = _Blob(self._container.get_blob_client(path), self._options)
        with io.BufferedReader(blob, _CHUNK) as file:
            yield cast("BinaryIO", GuardedStream(file, guard))


@contextmanager
def _guard(place: str) -> Iterator[None]:
    """Translate the errors of the client, and only these: put around its calls, never around a ``yield``."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except (AzureError, OSError) as error:
        status = error.status_code or 0 if isinstance(error, HttpResponseError) else 0
        msg = (
            f"Cannot read {place}: {type(error).__name__}: {_reason(error)}. Check the container, the credentials, and "
            "their permissions."
        )
        is_final = status in (400, 401, 403, 404)
        raise (DestinationAccessError if is_final else DestinationUnreachableError)(msg) from error


def _reason(error: Exception) -> str:
    """Return the first line of a message: the following ones repeat the request."""
    return (str(error).splitlines() or [""])[0]


def _error_code(error: HttpResponseError) -> str:
    return str(getattr(error, "error_code", ""))


class _Blob(io.RawIOBase):
    """A blob as a stream with one request per chunk: the client's own stream loads 32 MiB into memory at once."""

    def __init__(self, client: BlobClient, options: dict[str, Any]) -> None:
        from azure.core import MatchConditions

        properties = client.get_blob_properties(**options)
        self._client = client
        self._size = properties.size
        self._position = 0
        # A blob that is replaced during the read must be an error, not a mix of both.
        self._options = {**options, "etag": properties.etag, "match_condition": MatchConditions.IfNotModified}

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._position)
        if length:
            data = self._client.download_blob(offset=self._position, length=length, **self._options).readall()
            length = len(data)
            view[:length] = data
            self._position += length
        return length


def _validate_account(account: str) -> str:
    name = account.strip()
    if not name.isalnum():
        msg = f"Invalid storage account {account!r}: expected the bare account name, without a URL."
        raise InvalidExportError(msg)
    return name
