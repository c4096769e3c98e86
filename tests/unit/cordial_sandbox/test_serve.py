"""The file of connections for Airflow."""

from __future__ import annotations

import json

from airflow.models.connection import Connection

from cordial_sandbox.process import SandboxProcess


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
