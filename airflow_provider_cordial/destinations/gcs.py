"""GcsDestination: a bucket of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, cast

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
)

#: Bytes of one request while a file is read.
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class GcsDestination(Destination):
    """A bucket of Google Cloud Storage, written to by Cordial and read by Airflow's GCSHook.

    Cordial writes with the Google Cloud Storage integration of its account, which must be enabled there: no credentials
    are sent.

    :param bucket: the bucket's name (templated).
    :param path: the folder, or the file, if the last part has an extension (templated).
    :param conn_id: an Airflow connection of type ``google_cloud_platform``, for reading only.

    Source: Cordial, "Audience Trends export API".
    """

    type = "gcs"
    conn_type = "google_cloud_platform"

    bucket: str
    path: str
    conn_id: str = "google_cloud_default"

    def address(self) -> Address:
        body = {
            "type": self.type,
            "gcs_bucket": normalize_bucket("bucket", self.bucket, "gs"),
            "path": normalize_key(self.path),
        }
        return Address(body=body, uri=f"gs://{body['gcs_bucket']}/{body['path']}")

    @property
    def file_path(self) -> str | None:
        return parse_file_key(self.path)

    @property
    def asset_uri(self) -> str:
        return f"gs://{strip_scheme(self.bucket, 'gs')}/{self.path.strip().strip('/')}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[GcsReader]:
        with requires_extra("google"):
            from airflow.providers.google.cloud.hooks.gcs import GCSHook

        bucket, path = normalize_bucket("bucket", self.bucket, "gs"), normalize_key(self.path)
        guard = partial(_guard, f"bucket {bucket!r} with Airflow connection {self.conn_id!r}")
        with guard():
            client = GCSHook(gcp_conn_id=self.conn_id).get_conn()
        yield GcsReader(client, bucket, path, timeout, guard)


class GcsReader:
    """The objects under the destination's path.

    :param guard: translates the errors of the client.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        path: str,
        timeout: float,
        guard: Callable[[], AbstractContextManager[None]],
    ) -> None:
        from google.cloud.storage.retry import DEFAULT_RETRY

        self._client = client
        self._bucket = bucket
        self._path = path
        self._guard = guard
        # By default the client retries for two minutes, regardless of the timeout of a request.
        self._options = {"timeout": timeout, "retry": DEFAULT_RETRY.with_timeout(timeout)}

    def files(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:  # noqa: ARG002 - a listing has it all
        with self._guard(), self._listing():
            blobs = self._client.list_blobs(self._bucket, prefix=f"{self._path}/", delimiter="/", **self._options)
            return [
                DeliveredFile(blob.name, blob.size, blob.updated)
                for blob in blobs
                if not blob.name.endswith("/")  # some tools represent a folder as an empty object
            ]

    def stat(self, path: str) -> DeliveredFile | None:
        with self._guard(), self._listing():
            blob = self._client.bucket(self._bucket).get_blob(path, **self._options)
        return DeliveredFile(path, blob.size, blob.updated) if blob else None

    @contextmanager
    def _listing(self) -> Iterator[None]:
        from google.api_core.exceptions import Forbidden

        try:
            yield
        except Forbidden as error:
            # Without the permission to list, the answer is 403 also for an object that does not exist yet.
            msg = (
                f"Google Cloud Storage denies access to {self._bucket}/{self._path}: {error}. Allow the account of the "
                "Airflow connection storage.objects.list and storage.objects.get, and check the destination's path."
            )
            raise FolderNotListedError(msg, folder=self._path) from error

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        from google.api_core.exceptions import NotFound

        @contextmanager
        def guard() -> Iterator[None]:
            with self._guard():
                try:
                    yield
                except NotFound as error:
                    msg = f"Object {path!r} was replaced or deleted: {error}. Retry the task."
                    raise FileChangedError(msg) from error

        bucket = self._client.bucket(self._bucket)
        with guard():
            found = bucket.get_blob(path, **self._options)
            if found is None:
                raise NotFound("the object does not exist")  # type: ignore[no-untyped-call]
        # An object that is replaced during the read must be an error, not a mix of both.
        blob = bucket.blob(path, generation=found.generation)
        # The content as it is stored: an object with a Content-Encoding would arrive with another size.
        with blob.open("rb", chunk_size=_CHUNK, raw_download=True, **self._options) as file:
            yield cast("BinaryIO", GuardedStream(file, guard))


@contextmanager
def _guard(place: str) -> Iterator[None]:
    """Translate the errors of the client, and only these: put around its calls, never around a ``yield``."""
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        is_final = isinstance(error, (Forbidden, NotFound, Unauthorized))
        is_final = is_final or (isinstance(error, GoogleAuthError) and not error.retryable)
        msg = (
            f"Cannot read {place}: {type(error).__name__}: {error}. Check the bucket, the credentials, and their "
            "permissions."
        )
        raise (DestinationAccessError if is_final else DestinationUnreachableError)(msg) from error
