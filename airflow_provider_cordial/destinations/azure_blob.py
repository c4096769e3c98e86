"""AzureBlobDestination: a container of Azure Blob Storage."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_cordial.destinations.base import Address, DeliveredFile, Destination
from airflow_provider_cordial.destinations.object_paths import normalize_bucket, normalize_key, parse_file_key
from airflow_provider_cordial.exceptions import (
    DestinationUnreachableError,
    InvalidConnectionError,
    InvalidExportError,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from azure.storage.blob import BlobClient, ContainerClient

#: Bytes of one request while a file is read.
_CHUNK = 1 << 22

_RETRIES = 1


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
        return f"wasbs://{self.container}@{self.account}/{self.path.strip('/')}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[AzureBlobReader]:
        from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
        from azure.core.exceptions import AzureError

        try:
            with WasbHook(wasb_conn_id=self.conn_id).get_conn() as client:
                if client.account_name not in (None, _validate_account(self.account)):
                    msg = (
                        f"Airflow connection {self.conn_id!r} belongs to storage account {client.account_name!r}, but "
                        f"the destination is account {self.account!r}. Use a connection of that account."
                    )
                    raise InvalidConnectionError(msg)
                container = client.get_container_client(normalize_bucket("container", self.container, "wasbs"))
                yield AzureBlobReader(container, normalize_key(self.path), timeout)
        except (AzureError, OSError) as error:
            # The following lines of a message repeat the request.
            reason = (str(error).splitlines() or [""])[0]
            msg = (
                f"Cannot read container {self.container!r} of account {self.account!r} with Airflow connection "
                f"{self.conn_id!r}: {type(error).__name__}: {reason}. Check the container, the credentials, and their "
                "permissions."
            )
            raise DestinationUnreachableError(msg) from error


class AzureBlobReader:
    """The blobs under the destination's path."""

    def __init__(self, container: ContainerClient, path: str, timeout: float) -> None:
        self._container = container
        self._path = path
        # By default a request waits for minutes, and its retries take even longer.
        self._options: dict[str, Any] = {
            "connection_timeout": timeout,
            "read_timeout": timeout,
            "retry_total": _RETRIES,
        }

    def files(self) -> list[DeliveredFile]:
        from azure.storage.blob import BlobPrefix

        found = self._container.walk_blobs(name_starts_with=f"{self._path}/", delimiter="/", **self._options)
        return [
            DeliveredFile(blob.name, blob.size, blob.last_modified)
            for blob in found
            if not isinstance(blob, BlobPrefix)
        ]

    def stat(self, path: str) -> DeliveredFile | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            blob = self._container.get_blob_client(path).get_blob_properties(**self._options)
        except ResourceNotFoundError:
            return None
        return DeliveredFile(path, blob.size, blob.last_modified)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        with io.BufferedReader(_Blob(self._container.get_blob_client(path), self._options), _CHUNK) as file:
            yield file


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
