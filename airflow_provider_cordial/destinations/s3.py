"""S3Destination: a bucket of Amazon S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_cordial.destinations.base import Address, DeliveredFile, Destination, read_connection
from airflow_provider_cordial.destinations.object_paths import normalize_bucket, normalize_key, parse_file_key
from airflow_provider_cordial.exceptions import (
    DestinationUnreachableError,
    InvalidConnectionError,
    InvalidExportError,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection

_ATTEMPTS = 3


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

    bucket: str
    path: str
    region: str | None = None
    conn_id: str = "aws_default"
    use_iam_role: bool = False

    def address(self) -> Address:
        connection = read_connection(self.conn_id) if not (self.use_iam_role and self.region) else None
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
        return f"s3://{self.bucket}/{self.path.strip('/')}"

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[S3Reader]:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        config = Config(connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": _ATTEMPTS})
        try:
            client = S3Hook(aws_conn_id=self.conn_id, region_name=self.region, config=config).get_conn()
            yield S3Reader(client, normalize_bucket("bucket", self.bucket, "s3"), normalize_key(self.path))
        except (BotoCoreError, ClientError) as error:
            msg = (
                f"Cannot read bucket {self.bucket!r} with Airflow connection {self.conn_id!r}: "
                f"{type(error).__name__}: {error}. Check the bucket, its region, the keys, and their permissions."
            )
            raise DestinationUnreachableError(msg) from error


class S3Reader:
    """The objects under the destination's path."""

    def __init__(self, client: Any, bucket: str, path: str) -> None:
        self._client = client
        self._bucket = bucket
        self._path = path

    def files(self) -> list[DeliveredFile]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._path}/", Delimiter="/"
        )
        return [
            DeliveredFile(item["Key"], item["Size"], item["LastModified"])
            for page in pages
            for item in page.get("Contents", ())
            if not item["Key"].endswith("/")  # some tools represent a folder as an empty object
        ]

    def stat(self, path: str) -> DeliveredFile | None:
        from botocore.exceptions import ClientError

        try:
            head = self._client.head_object(Bucket=self._bucket, Key=path)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return DeliveredFile(path, head["ContentLength"], head["LastModified"])

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        with closing(self._client.get_object(Bucket=self._bucket, Key=path)["Body"]) as body:
            yield cast("BinaryIO", body)


def _static_keys(connection: Connection) -> tuple[str, str]:
    """Return the keys of an ``aws`` connection: its login and password, or the keys in its extra.

    :raises InvalidConnectionError: the keys are temporary or missing.
    """
    extra = connection.extra_dejson
    access_key = connection.login or extra.get("aws_access_key_id")
    secret_key = connection.password or extra.get("aws_secret_access_key")
    name = f"Airflow connection {connection.conn_id!r}"
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
