"""Send the bodies that Cordial documents, and run the tests that the documentation shows."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from cordial_sandbox.process import SandboxProcess

PROJECT = Path(__file__).resolve().parents[3]
EXAMPLES = PROJECT / "docs" / "examples"


def test_the_documented_tests_of_an_account_pass(tmp_path: Path) -> None:
    for name in ("test_my_account.py", "cordial-seed.yaml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_account.py"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4 passed" in ended.stdout


WEEKS = {"selected_timeframe_start": "2021-07-16", "selected_timeframe_end": "2021-08-16"}
AUDIENCES = {"audiences": ["audience1", "audience2"]}

#: The examples of the article "Audience Trends export API", one per destination. Those of aws and s3 are in the
#: contract as well; sftp has the article's port, a string, and the other two the members of its tables.
BODIES: dict[str, dict[str, Any]] = {
    "aws": {
        "name": "audiencetrends",
        "exportType": "csv",
        "destination": {"type": "aws"},
        "selected_timeframe_start": "2025-07-16",
        "selected_timeframe_end": "2025-08-16",
        **AUDIENCES,
    },
    "s3": {
        "name": "audiencetrends",
        "exportType": "csv",
        "destination": {
            "type": "s3",
            "aws_access_key_id": "A1234567890",
            "aws_secret_access_key": "B1234567890",
            "aws_bucket": "my_bucket",
            "aws_region": "us-west-2",
            "path": "folder",
        },
        **WEEKS,
        **AUDIENCES,
    },
    "sftp": {
        "name": "audiencetrends",
        "exportType": "csv",
        "destination": {
            "type": "sftp",
            "server": "sftp.example.com",
            "username": "username",
            "password": "password",
            "path": "/folder",
            "port": "21",
        },
        **WEEKS,
        **AUDIENCES,
    },
    "gcs": {
        "name": "audiencetrends",
        "exportType": "csv",
        "destination": {"type": "gcs", "gcs_bucket": "my_bucket", "path": "folder"},
        **WEEKS,
        **AUDIENCES,
    },
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    folder = tmp_path_factory.mktemp("documented")
    seed = folder / "seed.yaml"
    names = ", ".join(f"{{name: {name}, since: 2021-07-01}}" for name in AUDIENCES["audiences"])
    seed.write_text(f"accounts: [{{name: documented, keys: [{{key: a-key}}], audiences: [{names}]}}]")
    with SandboxProcess(folder, job_seconds=0, seed=seed) as started:
        yield started


@pytest.mark.parametrize("kind", BODIES)
def test_the_documented_bodies_are_accepted_as_they_are(sandbox: SandboxProcess, kind: str) -> None:
    # Nothing may be sent to the servers of the examples.
    sandbox.control.behaviour(job_stays_in="Scheduled")
    url, auth = f"{sandbox.url}/v2/audiencetrendsexport", (sandbox.api_key, "")
    answer = requests.post(url, json=BODIES[kind], auth=auth, timeout=10)
    assert (answer.status_code, list(answer.json())) == (200, ["jobId"])
    job = sandbox.control.job(answer.json()["jobId"])
    hidden = {"password": "***", "aws_access_key_id": "***", "aws_secret_access_key": "***"}
    destination = BODIES[kind]["destination"]
    expected = {**BODIES[kind], "destination": {name: hidden.get(name, destination[name]) for name in destination}}
    assert {member: job[member] for member in expected} == expected


def test_the_contract_has_the_documented_bodies(sandbox: SandboxProcess) -> None:
    contract = requests.get(f"{sandbox.url}/openapi.json", timeout=10).json()
    content = contract["paths"]["/v2/audiencetrendsexport"]["post"]["requestBody"]["content"]["application/json"]
    examples = {example["value"]["destination"]["type"]: example["value"] for example in content["examples"].values()}
    assert examples == {kind: BODIES[kind] for kind in examples}
    assert set(examples) >= {"aws", "s3"}


def test_the_file_of_the_documented_export_has_every_day_and_audience(sandbox: SandboxProcess) -> None:
    sandbox.control.behaviour(job_stays_in=None)
    url, auth = f"{sandbox.url}/v2/audiencetrendsexport", (sandbox.api_key, "")
    job_id = requests.post(url, json=BODIES["aws"], auth=auth, timeout=10).json()["jobId"]
    deadline = time.monotonic() + 20
    while not (location := sandbox.control.job(job_id)["delivered_to"]) and time.monotonic() < deadline:
        time.sleep(0.02)
    rows = list(csv.reader((sandbox.data / location).read_text().splitlines()))
    first, last = date(2025, 7, 16), date(2025, 8, 16)
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    assert (location.rpartition("/")[2], rows[0]) == ("audiencetrends.csv", ["audience", *days])
    assert [row[0] for row in rows[1:]] == AUDIENCES["audiences"]
