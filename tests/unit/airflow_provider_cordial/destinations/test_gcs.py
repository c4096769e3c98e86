"""Answers of Google Cloud Storage that the server of the tests does not give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from airflow_provider_cordial.destinations import FileWait, GcsDestination, open_delivered_file
from airflow_provider_cordial.destinations.gcs import GcsReader, _guard
from airflow_provider_cordial.exceptions import (
    CordialError,
    DestinationAccessError,
    DestinationUnreachableError,
    FolderNotListedError,
)

WAIT = FileWait(timeout=0.5, poll_interval=0.1, stable_for=0.05)


class Client:
    """Fails every request, as the client of the package does."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def list_blobs(self, *_: Any, **__: Any) -> Iterator[Any]:
        raise self._error

    def bucket(self, _: str) -> Client:
        return self

    def get_blob(self, *_: Any, **__: Any) -> Any:
        raise self._error


def reader(client: Any) -> GcsReader:
    return GcsReader(client, "acme", "x", 5, partial(_guard, "bucket 'acme'"))


class Destination(GcsDestination):
    __slots__ = ()

    @contextmanager
    def reader(self, *, timeout: float) -> Iterator[GcsReader]:
        yield reader(CLIENTS["one"])


CLIENTS: dict[str, Client] = {}


def failures() -> list[Any]:
    from google.api_core.exceptions import Forbidden, ServiceUnavailable, Unauthorized
    from google.auth.exceptions import RefreshError, TransportError

    return [
        (Forbidden("x does not have storage.objects.list access"), FolderNotListedError),  # type: ignore[no-untyped-call]
        (Unauthorized("x"), DestinationAccessError),  # type: ignore[no-untyped-call]
        (RefreshError("invalid_grant"), DestinationAccessError),  # type: ignore[no-untyped-call]
        (RefreshError("x", retryable=True), DestinationUnreachableError),  # type: ignore[no-untyped-call]
        (TransportError("x", retryable=True), DestinationUnreachableError),  # type: ignore[no-untyped-call]
        (ServiceUnavailable("x"), DestinationUnreachableError),  # type: ignore[no-untyped-call]
        (ConnectionResetError("x"), DestinationUnreachableError),
    ]


@pytest.mark.parametrize("number", range(7))
def test_an_answer_is_final_only_where_waiting_does_not_help(number: int) -> None:
    error, expected = failures()[number]
    for call in (lambda one: one.files(lambda _: True), lambda one: one.stat("x/trends.csv")):
        with pytest.raises(expected) as failed:
            call(reader(Client(error)))  # type: ignore[no-untyped-call]
        assert isinstance(failed.value, CordialError)
        assert failed.value.retry_helps == (expected is not DestinationAccessError)


@pytest.mark.parametrize("path", [None, "x/trends.csv"])
def test_a_denied_object_may_still_come(path: str | None) -> None:
    CLIENTS["one"] = Client(failures()[0][0])
    destination = Destination(bucket="acme", path="x")
    with (
        pytest.raises(FolderNotListedError, match=r"(?s)No file .*within 0.5 s.*storage.objects.list and storage"),
        open_delivered_file(destination, "trends", not_before=datetime.now(UTC), path=path, file_wait=WAIT),
    ):
        pass
