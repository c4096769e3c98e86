"""S3Destination: a bucket of Amazon S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_cordial.client.airflow_connections import read_airflow_connection
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
    from airflow.sdk import Connection

_ATTEMPTS = 3

#: Statuses of an error that a later request may not have: timeouts, conflicts, and too many requests.
_TEMPORARY = (408, 409, 425, 429)

#: Fields in the extra of an ``aws`` connection with which Airflow assumes a role.
_ROLE_FIELDS = ("role_arn", "assume_role_method", "assume_role_kwargs")


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Destination(Destination):
    """A bucket of Amazon S3, written to by Cordial and read by Airflow's S3Hook.

    :param bucket: the bucket's name (templated).
    :param path: the folder, or the file, if the last part has an extension (templated). Cordial's documents disagree,
        so both are supported.
    :param region: the bucket's region; by default the ``region_name`` of the Airflow connection.
    :param conn_id: an Airflow connection of type ``aws``. Its static keys are sent to Cordial at the moment of the
        submission: use a dedicated user with write access to this path only.
    :param use_iam_role: send no keys; Cordial uses the role that is set up in its account.

    Source: Cordial, "Audience Trends export API"; the Swagger document for the role.
    """

    type = "s3"
    conn_type = "aws"

    bucket: str
    path: str
    region: str | None = None
    conn_id: str = "aws_default"
    use_iam_role: bool = False

    def address(self) -> Address:
        needs_connection = not (self.use_iam_role and self.region)
        connection = read_airflow_connection(self.conn_id, conn_type=self.conn_type) if needs_connection else None
        region = self.region or (connection.extra_dejson.get("region_name") if connection else None)
        if not region:
            msg = (
                f"S3Destination has no region, and Airflow connection {self.conn_id!r} has no region_name in its "
                "extra: set the bucket's region."
            )
            raise InvalidExportError(msg)
        body = {
            "type": self.type,
            "aws_bucket": normalize_bucket("bucket", self.bucket, "s3"),
            "aws_region": region,
            "path": normalize_key(self.path),
        }
        secrets: tuple[str, ...] = ()
        if connection and not self.use_iam_role:
            secrets = access_key, secret_key = _static_keys(connection)
            body |= {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}
        return Address(body=body, uri=f"s3://{body['aws_bucket']}/{body['path']}", secrets=secrets)

    @property
    def file_path(self) -> str | None:
        return parse_file_key(self.path)

    @property
    def asset_uri(self) -> str:
        return f"s3://{strip_scheme(self.bucket, 's3')}/{self.path.strip().strip('/')}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[S3Reader]:
        with requires_extra("amazon"):
            from airflow.providers.amazon.aws.hooks.s3 import S3Hook
            from botocore.config import Config

        bucket, path = normalize_bucket("bucket", self.bucket, "s3"), normalize_key(self.path)
        guard = partial(_guard, f"bucket {bucket!r} with Airflow connection {self.conn_id!r}")
        config = Config(connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": _ATTEMPTS})
        with guard():
            client = S3Hook(aws_conn_id=self.conn_id, region_name=self.region, config=config).get_conn()
        yield S3Reader(client, bucket, path, guard)


class S3Reader:
    """The objects under the destination's path.

    :param guard: translates the errors of the client.
    """

    def __init__(self, client: Any, bucket: str, path: str, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._client = client
        self._bucket = bucket
        self._path = path
        self._guard = guard

    def files(self, matches: Callable[[str], bool]) -> list[DeliveredFile]:  # noqa: ARG002 - a listing has it all
        from botocore.exceptions import ClientError

        with self._guard():
            try:
                pages = self._client.get_paginator("list_objects_v2").paginate(
                    Bucket=self._bucket, Prefix=f"{self._path}/", Delimiter="/"
                )
                return [
                    DeliveredFile(item["Key"], item["Size"], item["LastModified"])
                    for page in pages
                    for item in page.get("Contents", ())
                    if not item["Key"].endswith("/")  # some tools represent a folder as an empty object
                ]
            except ClientError as error:
                if error.response["Error"]["Code"] != "AccessDenied":
                    raise
                raise self._not_listed(error) from error

    def stat(self, path: str) -> DeliveredFile | None:
        from botocore.exceptions import ClientError

        with self._guard():
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=path)
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 404:
                    return None
                if status == 403:
                    raise self._not_listed(error) from error
                raise
        return DeliveredFile(path, head["ContentLength"], head["LastModified"])

    def _not_listed(self, error: Exception) -> FolderNotListedError:
        # Without the permission to list, S3 answers 403 also for an object that does not exist yet.
        msg = (
            f"S3 denies access to {self._bucket}/{self._path}: {error}. Allow the user of the Airflow connection "
            "s3:ListBucket on the bucket and s3:GetObject on its objects, and check the destination's path."
        )
        return FolderNotListedError(msg, folder=self._path)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        from botocore.exceptions import ClientError

        with self._guard():
            try:
                body = self._client.get_object(Bucket=self._bucket, Key=path)["Body"]
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchKey":
                    raise
                raise FileChangedError(f"Object {path!r} disappeared: {error}. Retry the task.") from error
        with closing(body):
            yield cast("BinaryIO", GuardedStream(body, self._guard))


@contextmanager
def _guard(place: str) -> Iterator[None]:
    """Translate the errors of the client, and only these: put around its calls, never around a ``yield``."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
        SSLError,
    )
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (BotoCoreError, ClientError, HTTPError, OSError) as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else 0
        is_final = isinstance(error, (NoCredentialsError, PartialCredentialsError, ProfileNotFound))
        is_final = is_final or (isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error))
        is_final = is_final or (300 <= status < 500 and status not in _TEMPORARY)
        msg = (
            f"Cannot read {place}: {type(error).__name__}: {error}. Check the bucket, its region, the keys, and their "
            "permissions."
        )
        raise (DestinationAccessError if is_final else DestinationUnreachableError)(msg) from error


def _static_keys(connection: Connection) -> tuple[str, str]:
    """Return the keys of an ``aws`` connection: its login and password, or the keys in its extra.

    :raises InvalidConnectionError: the keys are temporary or missing.
    """
    extra = connection.extra_dejson
    access_key = connection.login or extra.get("aws_access_key_id")
    secret_key = connection.password or extra.get("aws_secret_access_key")
    name = f"Airflow connection {connection.conn_id!r}"
    if role := next((field for field in _ROLE_FIELDS if extra.get(field)), None):
        msg = (
            f"{name} has {role} in its extra: Airflow uses its keys only to assume a role, which Cordial cannot. "
            "Use static keys of a dedicated user, or use_iam_role=True if a role is set up in Cordial."
        )
        raise InvalidConnectionError(msg)
    if extra.get("aws_session_token"):
        msg = (
            f"{name} has temporary keys with a session token, and Cordial's API has no field for the token. "
            "Use static keys of a dedicated user, or use_iam_role=True."
        )
        raise InvalidConnectionError(msg)
    if not access_key or not secret_key:
        msg = (
            f"{name} has no static keys (login and password), and Cordial cannot use a profile or role of Airflow. "
            "Use static keys of a dedicated user, or use_iam_role=True if a role is set up in Cordial."
        )
        raise InvalidConnectionError(msg)
    return access_key, secret_key
