"""An Airflow home for the tests, and the connections to the sandbox."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

# Before the first import of Airflow, which reads its configuration once.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-tests-")
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORDIAL__POLL_INTERVAL"] = "0.1"
os.environ.pop("AIRFLOW__CORE__DAGS_FOLDER", None)
# Otherwise gcsfs requests a feature over TLS that only Google's own servers have, for minutes.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import SetConnection, sftp_connection


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers", choices=["embedded", "strict"], default="embedded", help="which storage servers to test against"
    )
    parser.addoption("--warehouse-table", action="store_true", help="print what was run against each warehouse")
    parser.addoption("--airflow-bin", type=Path, help="the folder of the commands of another version of Airflow")
    parser.addoption("--distributions", type=Path, help="the folder of the distributions; by default they are built")
    parser.addoption("--cluster", choices=["small", "full"], default="small", help="how much the cluster has to do")
    parser.addoption("--faults", choices=["small", "full"], default="small", help="how often the whole Airflow fails")
    parser.addoption(
        "--faults-seed", type=int, help="seed of the faults and kills; by default a fixed one or a new one"
    )


@pytest.fixture
def set_connection(monkeypatch: pytest.MonkeyPatch) -> SetConnection:
    """Set an Airflow connection: ``set_connection(id, conn_type=..., host=..., extra={...})``."""

    def set_one(conn_id: str, **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    return set_one


@pytest.fixture
def cordial(cordial_sandbox: SandboxProcess, set_connection: SetConnection) -> SandboxProcess:
    """The sandbox, with the connections ``cordial_default`` and ``sftp_default`` to it."""
    set_connection(
        "cordial_default",
        conn_type="cordial",
        host=cordial_sandbox.url,
        password=cordial_sandbox.api_key,
        extra={"attempts": 3, "read_timeout": 5, "not_found_grace": 5},
    )
    set_connection("sftp_default", **sftp_connection(cordial_sandbox))
    return cordial_sandbox


@pytest.fixture
def warehouse(tmp_path: Path, set_connection: SetConnection) -> Path:
    """A SQLite database behind the connection ``warehouse``."""
    path = tmp_path / "warehouse.db"
    set_connection("warehouse", conn_type="sqlite", host=str(path))
    return path
