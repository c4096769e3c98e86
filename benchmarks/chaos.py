"""Submit once, under faults: ``chaos.py [KILLS] [SEED]`` kills so many tasks, and counts the jobs.

For comparison, the same kills and faults hit a peer: the operator of the dbt Cloud provider with its defaults, against
a stand-in for its service. The points that only ours reaches, where it keeps a record, are omitted for the peer.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from cordial_sandbox.process import SandboxProcess
from tests.chaos.cordial import CordialSubject
from tests.chaos.harness import POINTS, Counts, chaos, import_all
from tests.integration.servers import free_port, running
from tests.integration.servers.trouble import certificate

#: The ``POINTS`` that every task reaches.
COMMON_POINTS = POINTS[:6]

SUCCESS = 10


class DbtCloudSubject:
    """``DbtCloudRunJobOperator``, which waits in the worker, and a stand-in for dbt Cloud that only counts."""

    name = "DbtCloudRunJobOperator"
    faults: ClassVar[list[Mapping[str, Any]]] = [
        *({"processed": True, "effect": effect} for effect in ("reset", 500, 502, 503, 504)),
        *({"processed": False, "effect": effect} for effect in ("reset", 500, 503)),
    ]

    def __init__(self, port: int, authority: Path) -> None:
        import_all("airflow.providers.dbt.cloud.operators.dbt", "requests.adapters", "tenacity")
        self._port = port
        self._authority = authority
        connection = {
            "conn_type": "dbt_cloud",
            "host": f"127.0.0.1:{port}",
            "login": "1",
            "password": "unused-token",
        }
        os.environ["AIRFLOW_CONN_DBT_CLOUD_DEFAULT"] = json.dumps(connection)
        os.environ["REQUESTS_CA_BUNDLE"] = str(authority)

    def start_run(self, run: int) -> None:  # noqa: ARG002
        self._ask("DELETE", "/runs")

    def fault(self, fault: Mapping[str, Any] | None) -> None:
        self._ask("PUT", "/fault", fault)

    def execute(self, context: dict[str, Any], run: int) -> Any:
        from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator

        operator = DbtCloudRunJobOperator(
            task_id="export", job_id=1, account_id=1, trigger_reason=f"run {run}", check_interval=0, timeout=30
        )
        return operator.execute(context)  # type: ignore[arg-type]

    def resume(self, context: dict[str, Any], run: int, event: Any) -> Any:
        raise NotImplementedError

    def wait(self, deferred: Any) -> Any:
        raise NotImplementedError

    def jobs(self) -> list[str]:
        runs: list[str] = self._ask("GET", "/runs")
        return runs

    def all_jobs(self) -> int:
        return len(self.jobs())

    def pushed_job(self, xcoms: Mapping[str, Any], value: Any) -> str | None:
        return str(value) if xcoms.get("job_run_id") == value else None

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        url = f"https://127.0.0.1:{self._port}{path}"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), method=method)
        trusted = ssl.create_default_context(cafile=str(self._authority))
        with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
            return json.loads(answer.read())["data"]


class StandIn(BaseHTTPRequestHandler):
    """The part of dbt Cloud's API that the operator calls: start a run, and report its success."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    runs: ClassVar[list[str]] = []
    fault: ClassVar[list[Mapping[str, Any]]] = []

    def do_POST(self) -> None:
        self._body()
        # Each fault happens once.
        fault = self.fault.pop() if self.fault else None
        if fault is None or fault["processed"]:
            self.runs.append(str(len(self.runs) + 1))
        # Time in which the try can be killed, as long as the sandbox takes.
        time.sleep(0.1)
        if fault is None:
            self._answer(200, {"id": int(self.runs[-1]), "href": "x", "status": SUCCESS})
        elif fault["effect"] == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self._answer(fault["effect"], {})

    def do_GET(self) -> None:
        self._body()
        last = self.path.rstrip("/").rpartition("/")[2]
        self._answer(200, self.runs if last == "runs" else {"id": int(last), "status": SUCCESS})

    def do_PUT(self) -> None:
        fault = self._body()
        self.fault[:] = [fault] if fault else []
        self._answer(200, None)

    def do_DELETE(self) -> None:
        self._body()
        self.runs.clear()
        self._answer(200, None)

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")

    def _answer(self, status: int, data: Any) -> None:
        body = json.dumps({"data": data}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: Any) -> None:
        """Log nothing: clients are killed here."""


def serve(port: int, pem: Path) -> None:
    server = Server(("127.0.0.1", port), StandIn)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    # Each handler does its own handshake: a client that dies during it blocks no other.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


@contextmanager
def dbt_cloud(folder: Path) -> Iterator[DbtCloudSubject]:
    """Run the stand-in in a separate process: a process with threads must not be forked."""
    pem, port = certificate(folder / "tls.pem"), free_port()
    with running([sys.executable, __file__, "--serve", str(port), str(pem)], port):
        yield DbtCloudSubject(port, pem)


def show(name: str, counts: Counts, seconds: float) -> None:
    row = (counts.runs, counts.kills, counts.jobs, counts.duplicates, counts.losses, counts.uncertain)
    print(f"{name:30}", *(f"{value:10}" for value in row), f"   {seconds:5.0f} s", flush=True)


def main(kills: int, seed: int) -> int:
    columns = ("runs", "kills", "jobs", "duplicates", "losses", "uncertain")
    print(f"{'seed ' + str(seed):30}", *(f"{column:>10}" for column in columns))
    with tempfile.TemporaryDirectory(prefix="cordial-chaos-") as name:
        folder = Path(name)
        started = time.monotonic()
        with SandboxProcess(folder / "sandbox", job_seconds=0.05) as sandbox:
            ours = chaos(CordialSubject(sandbox), POINTS, kills, seed, folder)
        show(CordialSubject.name, ours, time.monotonic() - started)
        started = time.monotonic()
        with dbt_cloud(folder) as subject:
            show(subject.name, chaos(subject, COMMON_POINTS, kills, seed, folder), time.monotonic() - started)
    for failure in ours.failures:
        print(failure)
    return 1 if ours.duplicates or ours.losses else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]), Path(sys.argv[3]))
    sys.exit(main(int((sys.argv[1:] or ["200"])[0]), int((sys.argv[2:] or ["1"])[0])))
