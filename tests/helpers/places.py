"""One of each storage server, and exports to them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.destinations import Destination, FileWait
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from cordial_sandbox.process import SandboxProcess
from tests.helpers.operators import TaskInstance
from tests.helpers.sandbox import NO_HOST_KEYS
from tests.integration.servers import AzureAccount, Bucket, GoogleStorage, Login

#: For a file that already exists.
QUICK = FileWait(timeout=10, poll_interval=0.1, stable_for=0.1, read_timeout=5)

Row = tuple[str, str, int | None]

AUDIENCES = ["opened_last_30_days", 'Käufer, "Gold"', "new_subscribers"]


@dataclass(frozen=True)
class Places:
    """The servers of a test.

    :param azure: None if it is not installed.
    :param s3_over_tls: the address over TLS and the authority of its certificate, if the server supports TLS.
    :param authorized_keys: the file of the public keys that the SFTP server accepts, if it has one.
    """

    sandbox: SandboxProcess
    sftp: Login
    ftp: Login
    bucket: Bucket
    gcs: GoogleStorage
    azure: AzureAccount | None
    s3_over_tls: tuple[str, Path] | None = None
    authorized_keys: Path | None = None

    def connections(self) -> dict[str, dict[str, Any]]:
        """Return the fields of an Airflow connection to each of them."""
        return {
            "cordial_default": {"conn_type": "cordial", "host": self.sandbox.url, "password": self.sandbox.api_key},
            "sftp_default": self.sftp.connection("sftp", **NO_HOST_KEYS),
            "ftp_default": self.ftp.connection("ftp"),
            "aws_default": self.bucket.connection(),
            "google_cloud_default": self.gcs.connection(),
            "wasb_default": self.azure.connection() if self.azure else {"conn_type": "wasb"},
        }

    def azure_or_skip(self) -> AzureAccount:
        if self.azure is None:
            pytest.skip("Azurite is not installed; make test-integration installs it")
        return self.azure

    @property
    def secrets(self) -> list[str]:
        """Return the values that must not appear in a message."""
        keys = [self.azure.key] if self.azure else []
        keys += [self.gcs.key["private_key"]] if self.gcs.key else []
        return [self.sftp.password, self.ftp.password, self.bucket.secret_key, *keys]


def export(destination: Destination, **options: Any) -> dict[str, Any]:
    """Export to a destination, wait until the job is Done, and return what the operator pushes."""
    ti = TaskInstance(run_id=f"run-{time.monotonic()}")
    operator = AudienceTrendsExportOperator(
        task_id="export",
        audiences=AUDIENCES,
        destination=destination,
        selected_timeframe_start="2026-10-01",
        selected_timeframe_end="2026-10-31",
        wait_for_completion=True,
        poll_interval=0.05,
        timeout=60,
        **options,
    )
    operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    result: dict[str, Any] = ti.xcoms["export"]
    return result


def snapshots(places: Places) -> list[Row]:
    """Return the snapshots of the account, without an export."""
    rows = [
        (audience, one["date"], one["contacts"])
        for audience in AUDIENCES
        for one in places.sandbox.control.snapshots(audience=audience, start="2026-10-01", end="2026-10-31")
    ]
    return sorted(rows, key=str)
