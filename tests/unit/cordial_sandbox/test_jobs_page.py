"""Test the page for people, and the file of connections for Airflow."""

from __future__ import annotations

import json

import requests
from airflow.models.connection import Connection

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import export_body


def get(sandbox: SandboxProcess, path: str, **headers: str) -> requests.Response:
    return requests.get(sandbox.url + path, headers=headers, timeout=10)


def test_a_link_to_a_job_shows_it_without_a_key(cordial_sandbox: SandboxProcess) -> None:
    body = export_body(name="trends-1", audiences=['Käufer, "Gold"'])
    submitted = requests.post(
        f"{cordial_sandbox.url}/v2/audiencetrendsexport", json=body, auth=(cordial_sandbox.api_key, ""), timeout=10
    )
    job_id = submitted.json()["jobId"]
    page = get(cordial_sandbox, f"/jobs/{job_id}")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert job_id in page.text
    assert "<td>trends-1" in page.text
    assert "Käufer, &quot;Gold&quot;" in page.text
    assert f"<td>{job_id}" in get(cordial_sandbox, "/jobs").text
    assert get(cordial_sandbox, "/jobs/unknown").status_code == 404


def test_the_page_is_kept_from_other_web_pages(cordial_sandbox: SandboxProcess) -> None:
    assert get(cordial_sandbox, "/jobs", Host="attacker.example").status_code == 403
    assert get(cordial_sandbox, "/jobs", Origin="http://attacker.example").status_code == 403


def test_the_file_of_connections_is_as_airflow_reads_it(cordial_sandbox: SandboxProcess) -> None:
    content = json.loads((cordial_sandbox.data / "airflow-connections.json").read_text())
    cordial, sftp = (Connection(conn_id=name, **fields) for name, fields in content.items())
    assert (cordial.conn_id, cordial.conn_type) == ("cordial_default", "cordial")
    assert f"{cordial.host}:{cordial.port}" == cordial_sandbox.url
    assert cordial.password == cordial_sandbox.api_key
    assert (sftp.conn_type, sftp.port, sftp.password) == (
        "sftp",
        cordial_sandbox.sftp.port,
        cordial_sandbox.sftp.password,
    )
    assert sftp.extra_dejson["no_host_key_check"] == "true"
