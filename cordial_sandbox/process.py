"""Run the sandbox as a child process, for a test or a demo; needs the standard library only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0

_POLL = 0.02
_LOG_TAIL = 2_000

# Past a proxy of the environment: it does not reach this machine's loopback.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class SftpAddress:
    """The sandbox's SFTP server; ``root`` is the folder on this machine that its users see."""

    host: str
    port: int
    username: str
    password: str
    root: Path


class SandboxProcess:
    """A sandbox in a process of its own, which does not outlive this one; also a context manager.

    :param data: the folder that holds everything; start again with the same one to go on.
    :param job_seconds: how long a job takes.
    """

    def __init__(
        self,
        data: Path,
        *,
        api_key: str = "cordial-sandbox-key",
        sftp_password: str | None = None,
        job_seconds: float = 2.0,
    ) -> None:
        self.data = Path(data)
        self.api_key = api_key
        self.job_seconds = job_seconds
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
        return SandboxControl(self.url)

    @property
    def log(self) -> Path:
        """What the sandbox logged, over all starts."""
        return self.data / "sandbox.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and wait until it is ready.

        :raises RuntimeError: it did not start; with the end of its log.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "cordial_sandbox", "serve", "--data", str(self.data), "--stop-on-eof"]
        command += ["--job-seconds", str(self.job_seconds)]
        # Secrets go by the environment: other users of the machine can read a command line.
        environment = {**os.environ, "CORDIAL_SANDBOX_API_KEY": self.api_key}
        if self._sftp_password is not None:
            environment["CORDIAL_SANDBOX_SFTP_PASSWORD"] = self._sftp_password
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready(self._process.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                msg = f"The sandbox did not start. The end of its log:\n{self.log.read_text()[-_LOG_TAIL:]}"
                raise RuntimeError(msg)
            time.sleep(_POLL)

    def stop(self) -> None:
        """Stop it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
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
        return True


class SandboxControl:
    """The control API of a sandbox."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/_sandbox"

    def behaviour(self, **changes: Any) -> dict[str, Any]:
        """Change how the account behaves (see ``settings.Behaviour``), and return all of it."""
        result: dict[str, Any] = self._call("PATCH", "/behaviour", changes)
        return result

    def fault(self, request: str, effect: str, **options: Any) -> None:
        """Add a fault (see ``faults.Fault``)."""
        self._call("POST", "/faults", {"request": request, "effect": effect, **options})

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that have not happened yet."""
        result: list[dict[str, Any]] = self._call("GET", "/faults")
        return result

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults")

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs, the newest first."""
        result: list[dict[str, Any]] = self._call("GET", "/jobs")
        return result

    def job(self, job_id: str) -> dict[str, Any]:
        result: dict[str, Any] = self._call("GET", f"/jobs/{job_id}")
        return result

    def add_jobs(self, count: int, *, shortest: float, longest: float) -> list[str]:
        """Add many jobs at once, and return their ids.

        They are delivered to the Jobs page.

        :param shortest: how many seconds the first of them takes; the others are spread evenly from there.
        :param longest: how many the last of them takes.
        """
        result: list[str] = self._call("POST", "/jobs", {"count": count, "shortest": shortest, "longest": longest})
        return result

    def snapshots(self, *, audience: str, start: str, end: str) -> list[dict[str, Any]]:
        """Return the snapshots that the account has of an audience, past any export."""
        query = urllib.parse.urlencode({"audience": audience, "start": start, "end": end})
        result: list[dict[str, Any]] = self._call("GET", f"/snapshots?{query}")
        return result

    def create_saved_key(self, name: str) -> str:
        """Make a key pair in the account's Secrets Vault, and return its public key."""
        return str(self._call("PUT", f"/saved-keys/{urllib.parse.quote(name, safe='')}")["public_key"])

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests to the API so far."""
        result: list[dict[str, Any]] = self._call("GET", "/requests")
        return result

    def clear_requests(self) -> None:
        self._call("DELETE", "/requests")

    def reset(self) -> None:
        """Put everything back to the start."""
        self._call("POST", "/reset")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the address is the sandbox's own
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with _direct.open(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            msg = f"{method} {path}: {error.code} {error.read().decode(errors='replace')}"
            raise ValueError(msg) from None
