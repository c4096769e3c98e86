"""Fixtures for testing DAGs against a local Cordial, which starts with the first test that requests one of them.

``cordial_account`` is an account with its Airflow connections, and ``cordial_sandbox`` the sandbox itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.client import HTTPException

import pytest

from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.testing import CordialAccount

_POLL_INTERVAL = "AIRFLOW__CORDIAL__POLL_INTERVAL"


@pytest.fixture(scope="session")
def cordial_sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Run one sandbox with fast jobs for the whole session, or one in each worker of pytest-xdist."""
    with SandboxProcess(tmp_path_factory.mktemp("cordial-sandbox"), job_seconds=0.1) as sandbox:
        yield sandbox


@pytest.fixture
def cordial_sandbox(cordial_sandbox_process: SandboxProcess) -> SandboxProcess:
    """Return the session's sandbox after a reset; it starts again if a test killed it."""
    if not cordial_sandbox_process.is_running:
        _restart(cordial_sandbox_process)
    try:
        cordial_sandbox_process.control.reset()
    except (OSError, HTTPException):  # killed a moment ago
        _restart(cordial_sandbox_process)
        cordial_sandbox_process.control.reset()
    return cordial_sandbox_process


@pytest.fixture
def cordial_account(cordial_sandbox: SandboxProcess) -> Iterator[CordialAccount]:
    """Return the sandbox's first account after a reset, with its Airflow connections in the environment.

    The connections are ``cordial_default`` and ``sftp_default``. A DAG that is imported meanwhile polls its fast jobs
    without a pause, unless the environment already has a poll interval.
    """
    account = CordialAccount(cordial_sandbox)
    # Not the fixture monkeypatch, as a test may undo it.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in account.environment.items():
            patch.setenv(name, value)
        if _POLL_INTERVAL not in os.environ:
            patch.setenv(_POLL_INTERVAL, "0.1")
        yield account


def _restart(sandbox: SandboxProcess) -> None:
    sandbox.kill()
    sandbox.start()
