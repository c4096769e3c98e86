"""Answers of Amazon S3 that the servers of the tests do not give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from airflow_provider_cordial.destinations import FileWait, S3Destination, open_delivered_file
from airflow_provider_cordial.destinations.s3 import S3Reader, _guard
from airflow_provider_cordial.exceptions import (
    CordialError,
    DestinationAccessError,
    DestinationUnreachableError,
    FileChangedError,
    FolderNotListedError,
)

WAIT = FileWait(timeout=0.5, poll_interval=0.1, stable_for=0.05)

NOW = datetime.now(UTC)


class Client:
    """Answers with errors, and with objects from a number of requests on."""

    def __init__(self, errors: dict[str, tuple[str, int]], *, arrives_at: int = 1_000) -> None:
        self._errors = errors
        self._arrives_at = arrives_at
        self.requests = 0

    def _answer(self, operation: str, answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        self.requests += 1
        if operation in self._errors and self.requests < self._arrives_at:
            code, status = self._errors[operation]
            raise ClientError(
                {"Error": {"Code": code, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}},
                operation,
            )
        return answer()

    def head_object(self, **_: str) -> dict[str, Any]:
        return self._answer("head", lambda: {"ContentLength": 3, "LastModified": NOW})

    def get_object(self, **_: str) -> dict[str, Any]:
        import io

        return self._answer("get", lambda: {"Body": io.BytesIO(b"a,1")})

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        listed = {"Key": "x/trends.csv", "Size": 3, "LastModified": NOW}
        return iter([self._answer("list", lambda: {"Contents": [listed]})])


class Destination(S3Destination):
    __slots__ = ()

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[S3Reader]:
        yield S3Reader(CLIENTS[self.conn_id], "acme", "x", partial(_guard, "bucket 'acme'"))


CLIENTS: dict[str, Client] = {}


def read(client: Client, path: str | None = None) -> bytes:
    CLIENTS["one"] = client
    destination = Destination(bucket="acme", path="x", conn_id="one")
    with open_delivered_file(destination, "trends", not_before=None, path=path, file_wait=WAIT) as (_, stream):
        return stream.read()


DENIED = {"head": ("403", 403), "list": ("AccessDenied", 403)}


@pytest.mark.parametrize("path", [None, "x/trends.csv"])
def test_a_denied_object_may_still_come(path: str | None) -> None:
    """Without s3:ListBucket, the answer for a missing object is 403."""
    assert read(Client(DENIED, arrives_at=4), path) == b"a,1"
    client = Client(DENIED)
    with pytest.raises(
        FolderNotListedError, match=r"(?s)No file .*within 0.5 s.*403.*s3:ListBucket|AccessDenied"
    ) as failed:
        read(client, path)
    assert failed.value.retry_helps
    assert client.requests > 4


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({"list": ("SignatureDoesNotMatch", 403)}, DestinationAccessError),
        ({"list": ("NoSuchBucket", 404)}, DestinationAccessError),
        ({"list": ("PermanentRedirect", 301)}, DestinationAccessError),
        ({"head": ("403", 403), "list": ("InvalidAccessKeyId", 403)}, DestinationAccessError),
        ({"get": ("AccessDenied", 403)}, DestinationAccessError),
        ({"list": ("SlowDown", 503)}, DestinationUnreachableError),
        ({"list": ("TooManyRequests", 429)}, DestinationUnreachableError),
        ({"get": ("NoSuchKey", 404)}, FileChangedError),
    ],
)
def test_an_answer_is_final_only_where_waiting_does_not_help(
    errors: dict[str, tuple[str, int]], expected: type[CordialError]
) -> None:
    client = Client(errors)
    with pytest.raises(expected) as failed:
        read(client)
    assert list(errors.values())[-1][0] in str(failed.value)
    assert (expected is DestinationAccessError) != failed.value.retry_helps
    with pytest.raises(expected):
        read(client, "x/trends.csv" if "head" in errors or "get" in errors else None)
