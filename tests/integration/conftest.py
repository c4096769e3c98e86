"""One of each server, and the Airflow connections to them."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.helpers.places import Places
from tests.helpers.sandbox import SetConnection
from tests.integration.servers import AzureAccount, GoogleStorage, Login, embedded, strict
from tests.integration.servers.bigquery import BigQuery, bigquery_server
from tests.integration.servers.bigquery import is_installed as is_bigquery_installed
from tests.integration.servers.databricks import Databricks, databricks_server
from tests.integration.servers.mariadb import MariaDb, mariadb_server, server_binary
from tests.integration.servers.postgres import Postgres, binaries, postgres_server
from tests.integration.servers.redis import Redis, redis_server
from tests.integration.servers.redis import is_installed as is_redis_installed
from tests.integration.servers.redshift import Redshift, redshift_double
from tests.integration.servers.snowflake import Snowflake, snowflake_server
from tests.integration.servers.snowflake import installed_version as fakesnow_version


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--servers") != "strict":
        skip = pytest.mark.skip(reason="needs the strict servers: make test-integration")
        for item in items:
            if item.get_closest_marker("strict"):
                item.add_marker(skip)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    """A sandbox for one test, in which a job takes a second."""
    with SandboxProcess(tmp_path / "sandbox", job_seconds=1) as sandbox:
        yield sandbox


@pytest.fixture
def airflow_bin(request: pytest.FixtureRequest) -> Path:
    """The folder of the commands of another version of Airflow, whose environment has the provider's wheel."""
    folder = request.config.getoption("--airflow-bin")
    if folder is None:
        pytest.skip("needs an environment with another version of Airflow: make test-matrix")
    return Path(folder).absolute()


@pytest.fixture(scope="package")
def places(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("places")
    with ExitStack() as stack:
        start = _strict if request.config.getoption("--servers") == "strict" else _embedded
        yield start(stack, folder)


def _embedded(stack: ExitStack, folder: Path) -> Places:
    bucket = stack.enter_context(embedded.s3_server())
    gcs = stack.enter_context(embedded.gcs_server(folder / "gcs"))
    azure = stack.enter_context(strict.azurite_server(folder / "azure")) if strict.is_azurite_installed() else None
    ftp = stack.enter_context(embedded.ftp_server(folder / "ftp"))
    sandbox = _sandbox(stack, folder, gcs, azure, AWS_ENDPOINT_URL_S3=bucket.url)
    sftp = sandbox.sftp
    return Places(sandbox, Login(sftp.port, sftp.username, sftp.password, sftp.root), ftp, bucket, gcs, azure)


def _strict(stack: ExitStack, folder: Path) -> Places:
    bucket, tls_url, authority = stack.enter_context(strict.seaweedfs_server(folder / "s3"))
    gcs = stack.enter_context(strict.google_storage_with_login(folder / "gcs"))
    azure = stack.enter_context(strict.azurite_server(folder / "azure"))
    user = stack.enter_context(strict.user_folder())
    sftp = stack.enter_context(strict.openssh_server(user, folder / "sshd"))
    ftp = stack.enter_context(strict.vsftpd_server(user, folder / "vsftpd"))
    # Cordial writes over TLS, where the client signs in another way; Airflow reads over HTTP.
    sandbox = _sandbox(stack, folder, gcs, azure, AWS_ENDPOINT_URL_S3=tls_url, AWS_CA_BUNDLE=str(authority))
    keys = strict.authorized_keys(user)
    return Places(sandbox, sftp, ftp, bucket, gcs, azure, (tls_url, authority), keys)


def _sandbox(
    stack: ExitStack, folder: Path, gcs: GoogleStorage, azure: AzureAccount | None, **s3: str
) -> SandboxProcess:
    """Start a sandbox that reaches the services as any of their clients does."""
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    # The clients of the tests use the same variables.
    patch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    with pytest.MonkeyPatch.context() as only_the_sandbox:
        for name, value in s3.items():
            only_the_sandbox.setenv(name, value)
        if gcs.key:
            key_file = folder / "service-account.json"
            key_file.write_text(json.dumps(gcs.key))
            only_the_sandbox.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
        if azure:
            only_the_sandbox.setenv("AZURE_STORAGE_CONNECTION_STRING", azure.connection_string())
        return stack.enter_context(SandboxProcess(folder / "sandbox", job_seconds=0.1))


@pytest.fixture(scope="package")
def postgres() -> Iterator[Postgres]:
    if binaries() is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have PostgreSQL: install the package postgresql")
        pytest.skip("no PostgreSQL is installed on this machine (the package postgresql)")
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="package")
def mariadb() -> Iterator[MariaDb]:
    if server_binary() is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have MariaDB: install the package mariadb-server")
        pytest.skip("no MariaDB is installed on this machine (the package mariadb-server)")
    with mariadb_server() as server:
        yield server


@pytest.fixture(scope="package")
def bigquery() -> Iterator[BigQuery]:
    if not is_bigquery_installed():
        if os.environ.get("CI"):
            pytest.fail("CI must have the emulator of BigQuery: make .venv-bqemulator/.ready")
        pytest.skip("no emulator of BigQuery is installed on this machine (make .venv-bqemulator/.ready)")
    with bigquery_server() as server:
        yield server


@pytest.fixture(scope="package")
def databricks() -> Iterator[Databricks]:
    if importlib.util.find_spec("pysail") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Sail: install the packages pysail and pyspark-client")
        pytest.skip("Sail is not installed (the packages pysail and pyspark-client)")
    with databricks_server() as server:
        yield server


@pytest.fixture(scope="package")
def redshift(postgres: Postgres, places: Places) -> Iterator[Redshift]:
    with redshift_double(postgres, places.bucket) as server:
        yield server


@pytest.fixture(scope="package")
def snowflake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snowflake]:
    if fakesnow_version() is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have fakesnow: install fakesnow[server]")
        pytest.skip("fakesnow is not installed in this environment (fakesnow[server])")
    with snowflake_server(tmp_path_factory.mktemp("snowflake")) as server:
        yield server


@pytest.fixture
def redis() -> Iterator[Redis]:
    if not is_redis_installed():
        if os.environ.get("CI"):
            pytest.fail("CI must have Redis: install the package redis-server")
        pytest.skip("no Redis is installed on this machine (the package redis-server)")
    with redis_server() as server:
        yield server


@pytest.fixture
def connections(places: Places, set_connection: SetConnection, warehouse: Path) -> SetConnection:
    """Set the Airflow connections to all servers, and return the function that sets another."""
    places.sandbox.control.reset()
    for conn_id, fields in places.connections().items():
        set_connection(conn_id, **fields)
    return set_connection
