"""Where the sandbox may deliver to."""

from __future__ import annotations

from pathlib import Path

import pytest

from cordial_sandbox.delivery import DeliveryError, Site
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import submit, wait_until_settled


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_this_machine_is_permitted(host: str) -> None:
    Site(Path()).check(host)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "10.0.0.1",
        "0.0.0.0",
        "::",
        "::ffff:127.0.0.1",
        # Other spellings of loopback, which a resolver may accept.
        "127.1",
        "2130706433",
        "0x7f000001",
        "localhost.",
        "localhost.example.com",
        "",
        "127.0.0.1 ",
        "127.0.0.1@example.com",
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    with pytest.raises(DeliveryError, match="--deliver-to"):
        Site(Path()).check(host)


@pytest.mark.parametrize(
    ("pattern", "permitted", "refused"),
    [
        ("sftp", "SFTP", "sftp2"),
        ("*.amazonaws.com", "s3.eu-west-1.amazonaws.com", "amazonaws.com.example"),
        ("10.0.0.0/8", "10.1.2.3", "11.0.0.1"),
        ("10.0.0.7", "10.0.0.7", "10.0.0.70"),
        ("*", "anything.example", None),
    ],
)
def test_deliver_to_permits_names_and_networks(pattern: str, permitted: str, refused: str | None) -> None:
    site = Site(Path(), (pattern,))
    assert site.permits(permitted)
    assert refused is None or not site.permits(refused)


@pytest.mark.parametrize(
    "destination",
    [
        {"type": "sftp", "server": "192.0.2.1", "username": "u", "password": "p", "path": "x"},
        {"type": "ftp", "server": "192.0.2.1", "username": "u", "password": "p", "path": "x"},
        {"type": "s3", "aws_bucket": "b", "aws_region": "eu-west-1", "path": "x"},
    ],
    ids=lambda destination: str(destination["type"]),
)
def test_a_delivery_elsewhere_fails_the_job_before_a_connection(
    cordial_sandbox: SandboxProcess, destination: dict[str, str]
) -> None:
    job = wait_until_settled(cordial_sandbox, submit(cordial_sandbox, destination=destination))
    assert job["status"] == "Failed"
    assert "The sandbox may not connect to " in job["reason"]
