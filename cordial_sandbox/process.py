"""Run the sandbox as a child process, for a test or a demo; needs the standard library only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cordial_sandbox.control_client import SandboxControl

__all__ = ["SandboxControl", "SandboxProcess", "SftpAddress"]

START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0

_POLL_INTERVAL = 0.02
_LOG_TAIL = 2_000


@dataclass(frozen=True, slots=True)
class SftpAddress:
    """The sandbox's SFTP server; ``root`` is the folder on this machine that it exposes."""

    host: str
    port: int
    username: str
    password: str
    root: Path


class SandboxProcess:
    """A sandbox in a child process, which ends with this process; also a context manager.

    :param data: folder for the state and the delivered files; a new start with the same folder resumes.
    :param job_seconds: duration of a job.
    :param seed: YAML file of the accounts; then ``api_key`` is the first key of the first account.
    :param options: further options of ``cordial-sandbox serve``.
    """

    def __init__(
        self,
        data: Path,
        *,
        api_key: str = "cordial-sandbox-key",
        sftp_password: str | None = None,
        job_seconds: float = 2.0,
        seed: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.data = Path(data)
        self.api_key = api_key
        self.job_seconds = job_seconds
        self.seed = seed
        self.options = tuple(options)
        self._sftp_password = sftp_password
        self._process: subprocess.Popen[bytes] | None = None
        self._address: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return str(self._address["url"])

    @property
    def sftp(self) -> SftpAddress:
        return SftpAddress(**{**self._address["sftp"], "root": Path(self._address["sftp"]["root"])})

    @property
    def control(self) -> SandboxControl:
        return self.control_of(None)

    def control_of(self, account: str | None) -> SandboxControl:
        """Return the control API of one account of the seed file; of the first one without a name."""
        return SandboxControl.at(self._address, account)

    @property
    def log(self) -> Path:
        """The log file of all starts."""
        return self.data / "sandbox.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the sandbox and wait until it is ready.

        :raises RuntimeError: the sandbox did not start; the message ends with its log.
        """
        self._process = self._spawn()
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready(self._process.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                msg = f"The sandbox did not start. The end of its log:\n{self.log.read_text()[-_LOG_TAIL:]}"
                raise RuntimeError(msg)
            time.sleep(_POLL_INTERVAL)

    def stop(self) -> None:
        """Stop the sandbox gracefully."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the sandbox at once, as a crash would."""
        self._end(signal.SIGKILL)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log.touch(mode=0o600)
        command = [sys.executable, "-m", "cordial_sandbox", "serve", "--data", str(self.data)]
        command += ["--stop-on-eof", "--quiet"]
        command += ["--job-seconds", str(self.job_seconds)]
        command += [] if self.seed is None else ["--seed", str(self.seed)]
        command += self.options
        # Secrets are passed in the environment, as other users of the machine can read command lines.
        environment = {**os.environ, "CORDIAL_SANDBOX_API_KEY": self.api_key}
        if self._sftp_password is not None:
            environment["CORDIAL_SANDBOX_SFTP_PASSWORD"] = self._sftp_password
        with self.log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - our own module
                command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output
            )

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signum)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()

    def _is_ready(self, pid: int) -> bool:
        try:
            address = json.loads((self.data / "sandbox.json").read_text())
        except FileNotFoundError:
            return False
        if address["pid"] != pid:
            return False
        self._address = address
        self.api_key = address["api_key"]
        return True
