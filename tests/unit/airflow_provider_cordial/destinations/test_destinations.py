"""What each destination sends, and what it rejects before anything is sent."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from airflow_provider_cordial.destinations import (
    AzureBlobDestination,
    Destination,
    FtpDestination,
    GcsDestination,
    S3Destination,
    SftpDestination,
    UiDestination,
)
from airflow_provider_cordial.exceptions import MissingExtraError, RefusedError
from cordial_sandbox.process import SandboxProcess
from tests.helpers.operators import export
from tests.helpers.sandbox import SetConnection


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        (SftpDestination(conn_id="c", path=" /a/b// "), {"path": "/a/b", "password": "secret-123", "port": 22}),
        (SftpDestination(conn_id="c", path="/"), {"path": "/", "port": 22}),
        (SftpDestination(conn_id="c", path="a", saved_key="k"), {"savedKey": "k", "path": "a"}),
        (UiDestination(), {"type": "aws"}),
    ],
)
def test_sftp_and_ui_bodies(set_connection: SetConnection, destination: Destination, expected: dict[str, Any]) -> None:
    set_connection("c", conn_type="sftp", host="h", login="u", password="secret-123")
    address = destination.address()
    assert {key: address.body[key] for key in expected} == expected
    assert ("password" in address.body) == (address.body["type"] == "sftp" and "savedKey" not in address.body)
    assert "secret-123" not in repr(address) + address.uri + str(destination.to_json())


@pytest.mark.parametrize(
    ("destination", "uri"),
    [
        (S3Destination(bucket="s3://acme/", path=" /a/b/ ", region="r", use_iam_role=True), "s3://acme/a/b"),
        (S3Destination(bucket="acme", path="a/b", region="r", use_iam_role=True), "s3://acme/a/b"),
        (GcsDestination(bucket="gs://acme/", path=" /a/b/ "), "gs://acme/a/b"),
        (AzureBlobDestination(account=" acme ", container="wasbs://t/", path="/a/b/ "), "wasbs://t@acme/a/b"),
    ],
)
def test_a_bucket_is_normalized_in_the_body_and_in_the_asset(destination: Destination, uri: str) -> None:
    address = destination.address()
    assert destination.asset_uri == address.uri == uri
    assert "://" not in str(address.body)


def test_a_template_is_kept_in_an_asset() -> None:
    templated = S3Destination(bucket="{{ var.value['a/b'] }}", path="{{ ds }}")
    assert templated.asset_uri == "s3://{{ var.value['a/b'] }}/{{ ds }}"


S3_KEYS = {"login": "AKIA-OF-THE-TEST", "password": "secret-key-123"}


@pytest.mark.parametrize(
    ("fields", "destination", "expected"),
    [
        pytest.param(
            {**S3_KEYS, "extra": {"region_name": "us-west-2"}},
            S3Destination(bucket="b", path="/a/b/"),
            {
                "type": "s3",
                "aws_bucket": "b",
                "aws_region": "us-west-2",
                "path": "a/b",
                "aws_access_key_id": "AKIA-OF-THE-TEST",
                "aws_secret_access_key": "secret-key-123",
            },
            id="static-keys",
        ),
        pytest.param(
            {"extra": {"aws_access_key_id": "AKIA-OF-THE-TEST", "aws_secret_access_key": "secret-key-123"}},
            S3Destination(bucket="s3://b/", path="a/t.csv", region="eu-west-1"),
            {
                "type": "s3",
                "aws_bucket": "b",
                "aws_region": "eu-west-1",
                "path": "a/t.csv",
                "aws_access_key_id": "AKIA-OF-THE-TEST",
                "aws_secret_access_key": "secret-key-123",
            },
            id="keys-in-the-extra",
        ),
        pytest.param(
            {**S3_KEYS, "extra": {"region_name": "us-west-2", "aws_session_token": "t"}},
            S3Destination(bucket="b", path="a", use_iam_role=True),
            {"type": "s3", "aws_bucket": "b", "aws_region": "us-west-2", "path": "a"},
            id="role",
        ),
        pytest.param(
            None,
            S3Destination(bucket="b", path="a", region="us-west-2", use_iam_role=True),
            {"type": "s3", "aws_bucket": "b", "aws_region": "us-west-2", "path": "a"},
            id="role-without-a-connection",
        ),
        pytest.param(
            None,
            GcsDestination(bucket="gs://b", path="/a/"),
            {"type": "gcs", "gcs_bucket": "b", "path": "a"},
            id="gcs",
        ),
        pytest.param(
            None,
            AzureBlobDestination(account=" acme ", container="/trends/", path="/a/b/"),
            {"type": "azureblob", "account": "acme", "container": "trends", "path": "a/b"},
            id="azureblob",
        ),
        pytest.param(
            {"host": "h", "login": "u", "password": "secret-key-123"},
            FtpDestination(conn_id="aws_default", path="a/"),
            {"type": "ftp", "server": "h", "port": 21, "username": "u", "password": "secret-key-123", "path": "a"},
            id="ftp",
        ),
    ],
)
def test_bodies_of_the_other_destinations(
    set_connection: SetConnection, fields: dict[str, Any] | None, destination: Destination, expected: dict[str, Any]
) -> None:
    if fields is not None:
        set_connection("aws_default", conn_type="aws", **fields)
    address = destination.address()
    assert address.body == expected
    assert "secret-key-123" not in repr(address) + address.uri + str(destination.to_json())
    assert "AKIA" not in repr(address) + address.uri


@pytest.mark.parametrize(
    ("fields", "destination", "text"),
    [
        ({**S3_KEYS}, S3Destination(bucket="b", path="a"), "set the bucket's region"),
        ({}, S3Destination(bucket="b", path="a", region="r"), "has no static keys"),
        ({"login": "AKIA"}, S3Destination(bucket="b", path="a", region="r"), "has no static keys"),
        (
            {**S3_KEYS, "extra": {"aws_session_token": "token-123"}},
            S3Destination(bucket="b", path="a", region="r"),
            "temporary keys with a session token, and Cordial's API has no field for the token",
        ),
        *(
            (
                {**S3_KEYS, "extra": {role: "arn:aws:iam::123456789012:role/exports"}},
                S3Destination(bucket="b", path="a", region="r"),
                f"has {role} in its extra: Airflow uses its keys only to assume a role, which Cordial cannot",
            )
            for role in ("role_arn", "assume_role_method", "assume_role_kwargs")
        ),
        (
            {**S3_KEYS},
            S3Destination(bucket="b/c", path="a", region="r"),
            "Invalid bucket 'b/c'",
        ),
        ({**S3_KEYS}, S3Destination(bucket="", path="a", region="r"), "Invalid bucket '': expected the bare name"),
        ({**S3_KEYS}, S3Destination(bucket="b", path="/", region="r"), "Invalid path '/' of the destination"),
        ({}, GcsDestination(bucket="b/c", path="a"), "Invalid bucket 'b/c'"),
        (
            {},
            AzureBlobDestination(account="https://acme.blob.core.windows.net", container="c", path="a"),
            "Invalid storage account 'https://acme.blob.core.windows.net': expected the bare account name",
        ),
        (
            {},
            AzureBlobDestination(account="acme", container="c/d", path="a"),
            "Invalid container 'c/d'",
        ),
        ({}, AzureBlobDestination(account="acme", container="c", path="/"), "Invalid path '/' of the destination"),
        ({}, GcsDestination(bucket="b", path=" / "), "Invalid path ' / ' of the destination"),
        ({"host": "h", "login": "u"}, FtpDestination(conn_id="aws_default", path="a"), "has no password"),
        ({"host": "h", "password": "p"}, FtpDestination(conn_id="aws_default", path="a"), "has no login"),
        ({"login": "u", "password": "p"}, FtpDestination(conn_id="aws_default", path="a"), "has no host"),
    ],
)
def test_incomplete_destinations_are_rejected_before_sending(
    cordial: SandboxProcess,
    set_connection: SetConnection,
    fields: dict[str, Any],
    destination: Destination,
    text: str,
) -> None:
    set_connection("aws_default", conn_type="aws", **fields)
    with pytest.raises(RefusedError) as rejected:
        export(destination=destination)
    assert text in rejected.value.message
    assert "secret-key-123" not in rejected.value.message
    assert "token-123" not in rejected.value.message
    assert cordial.control.requests() == []


@pytest.mark.parametrize(
    ("destination", "module", "extra"),
    [
        (S3Destination(bucket="b", path="p"), "airflow.providers.amazon.aws.hooks.s3", "amazon"),
        (GcsDestination(bucket="b", path="p"), "airflow.providers.google.cloud.hooks.gcs", "google"),
        (
            AzureBlobDestination(account="a", container="c", path="p"),
            "airflow.providers.microsoft.azure.hooks.wasb",
            "microsoft-azure",
        ),
        (FtpDestination(conn_id="c", path="p"), "airflow.providers.ftp.hooks.ftp", "ftp"),
    ],
    ids=["s3", "gcs", "azure", "ftp"],
)
def test_a_missing_extra_is_named_with_its_command(
    destination: Destination, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the package were not installed.
    monkeypatch.setitem(sys.modules, module, None)
    command = re.escape(f"pip install 'airflow-provider-cordial[{extra}]'")
    with pytest.raises(MissingExtraError, match=command), destination.reader(timeout=1):
        pass
