"""One of each server, and the Airflow connections to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.conftest import SetConnection, sftp_connection
from tests.integration.postgres import Postgres, binaries, postgres_server
from tests.integration.servers import Bucket, Login, ftp_server, gcs_server, s3_server


@dataclass(frozen=True)
class Places:
    """The servers that a test has."""

    sandbox: SandboxProcess
    ftp: Login
    ftp_root: Path
    bucket: Bucket


@pytest.fixture(scope="package")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("places")
    root = folder / "ftp"
    (root / "exports").mkdir(parents=True)
    with (
        pytest.MonkeyPatch.context() as patch,
        s3_server() as bucket,
        ftp_server(root) as ftp,
        gcs_server(folder / "gcs") as gcs,
    ):
        # The sandbox finds the bucket as any client of AWS would find another endpoint.
        patch.setenv("AWS_ENDPOINT_URL_S3", bucket.url)
        patch.setenv("STORAGE_EMULATOR_HOST", gcs)
        with SandboxProcess(folder / "sandbox", job_seconds=0.1) as sandbox:
            yield Places(sandbox, ftp, root, bucket)


@pytest.fixture(scope="package")
def postgres() -> Iterator[Postgres]:
    if binaries() is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have PostgreSQL: install the package postgresql")
        pytest.skip("no PostgreSQL is installed on this machine (the package postgresql)")
    with postgres_server() as server:
        yield server


@pytest.fixture
def connections(places: Places, set_connection: SetConnection, warehouse: Path) -> SetConnection:
    places.sandbox.control.reset()
    ftp, bucket = places.ftp, places.bucket
    set_connection("cordial_default", conn_type="cordial", host=places.sandbox.url, password=places.sandbox.api_key)
    set_connection("sftp_default", **sftp_connection(places.sandbox))
    set_connection(
        "ftp_default", conn_type="ftp", host="127.0.0.1", port=ftp.port, login=ftp.username, password=ftp.password
    )
    set_connection(
        "aws_default",
        conn_type="aws",
        login=bucket.access_key,
        password=bucket.secret_key,
        extra={"region_name": bucket.region, "endpoint_url": bucket.url},
    )
    set_connection(
        "google_cloud_default", conn_type="google_cloud_platform", extra={"project": "sandbox", "is_anonymous": True}
    )
    return set_connection
