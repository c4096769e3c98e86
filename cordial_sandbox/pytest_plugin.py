"""Fixtures for tests of one's own DAGs: ``cordial_sandbox`` is a local Cordial, back at its start for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cordial_sandbox.process import SandboxProcess


@pytest.fixture(scope="session")
def cordial_sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """One sandbox for the whole session, with fast jobs."""
    with SandboxProcess(tmp_path_factory.mktemp("cordial-sandbox"), job_seconds=0.1) as sandbox:
        yield sandbox


@pytest.fixture
def cordial_sandbox(cordial_sandbox_process: SandboxProcess) -> SandboxProcess:
    """The session's sandbox, back at its start."""
    if not cordial_sandbox_process.is_running:  # a test has killed it
        cordial_sandbox_process.start()
    cordial_sandbox_process.control.reset()
    return cordial_sandbox_process
