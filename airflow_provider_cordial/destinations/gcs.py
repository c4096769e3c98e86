"""GcsDestination: a bucket of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from airflow_provider_cordial.destinations.base import Address, DeliveredFile, Destination
from airflow_provider_cordial.destinations.object_paths import normalize_bucket, normalize_key, parse_file_key
from airflow_provider_cordial.exceptions import DestinationUnreachableError

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
        return f"gs://{self.bucket}/{self.path.strip('/')}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[GcsReader]:
        from airflow.providers.google.cloud.hooks.gcs import GCSHook
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            client = GCSHook(gcp_conn_id=self.conn_id).get_conn()
            yield GcsReader(client, normalize_bucket("bucket", self.bucket, "gs"), normalize_key(self.path), timeout)
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            msg = (
                f"Cannot read bucket {self.bucket!r} with Airflow connection {self.conn_id!r}: "
                f"{type(error).__name__}: {error}. Check the bucket, the credentials, and their permissions."
            )
            raise DestinationUnreachableError(msg) from error


class GcsReader:
    """The objects under the destination's path."""

    def __init__(self, client: Any, bucket: str, path: str, timeout: float) -> None:
        from google.cloud.storage.retry import DEFAULT_RETRY

        self._client = client
        self._bucket = bucket
        self._path = path
        # By default the client retries for two minutes, regardless of the timeout of a request.
        self._options = {"timeout": timeout, "retry": DEFAULT_RETRY.with_timeout(timeout)}

    def files(self) -> list[DeliveredFile]:
        blobs = self._client.list_blobs(self._bucket, prefix=f"{self._path}/", delimiter="/", **self._options)
        return [
            DeliveredFile(blob.name, blob.size, blob.updated)
            for blob in blobs
            if not blob.name.endswith("/")  # some tools represent a folder as an empty object
        ]

    def stat(self, path: str) -> DeliveredFile | None:
        blob = self._client.bucket(self._bucket).get_blob(path, **self._options)
        return DeliveredFile(path, blob.size, blob.updated) if blob else None

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        from google.api_core.exceptions import NotFound

        bucket = self._client.bucket(self._bucket)
        found = bucket.get_blob(path, **self._options)
        if found is None:
            raise NotFound(path)  # type: ignore[no-untyped-call]
        # An object that is replaced during the read must be an error, not a mix of both.
        blob = bucket.blob(path, generation=found.generation)
        with blob.open("rb", chunk_size=_CHUNK, **self._options) as file:
            yield cast("BinaryIO", file)
