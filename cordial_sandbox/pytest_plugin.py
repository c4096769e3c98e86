"""Fixtures for testing DAGs: ``cordial_sandbox`` is a local Cordial, reset before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cordial_sandbox.process import SandboxProcess


@pytest.fixture(scope="session")
def cordial_sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Run one sandbox with fast jobs for the whole session."""
    with SandboxProcess(tmp_path_factory.mktemp("cordial-sandbox"), job_seconds=0.1) as sandbox:
        yield sandbox


@pytest.fixture
def cordial_sandbox(cordial_sandbox_process: SandboxProcess) -> SandboxProcess:
    """Return the session's sandbox after a reset."""
    if not cordial_sandbox_process.is_running:  # a test killed it
        cordial_sandbox_process.start()
    cordial_sandbox_process.control.reset()
    return cordial_sandbox_process
