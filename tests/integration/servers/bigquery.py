"""An emulator of BigQuery for the tests, on a free loopback port, and a proxy that records what it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.integration.servers import LOOPBACK, free_port, running

#: Made by ``make .venv-bqemulator/.ready``: the emulator needs other packages than the provider.
FOLDER = Path(__file__).resolve().parents[3] / ".venv-bqemulator" / "bin"

#: The emulator, with what it lacks.
_SERVER = Path(__file__).with_name("bigquery_emulator.py")

PROJECT = "my-project"
DATASET = "marketing"

_EXTENSIONS = "from duckdb_extensions import import_extension; import_extension('spatial'); import_extension('icu')"


@dataclass(frozen=True, slots=True)
class BigQuery:
    """An emulator with a project and a dataset; the address goes into ``BIGQUERY_EMULATOR_HOST``."""

    url: str

    def airflow_connection(self, **extra: Any) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        return {"conn_type": "gcpbigquery", "extra": {"is_anonymous": True, "project": PROJECT, **extra}}

    def client(self) -> Any:
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        return bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options=ClientOptions(api_endpoint=self.url),
        )

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in the dataset, and return its rows."""
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(default_dataset=f"{PROJECT}.{DATASET}")
        return [tuple(row.values()) for row in self.client().query(statement, job_config=config).result()]

    def tables(self, dataset: str = DATASET) -> list[str]:
        return [table.table_id for table in self.client().list_tables(dataset)]


def is_installed() -> bool:
    return (FOLDER / "bqemulator").exists()


@contextmanager
def bigquery_server() -> Iterator[BigQuery]:
    with tempfile.TemporaryDirectory(prefix="cordial-bigquery-") as home:
        # The extensions of DuckDB are installed into the home folder.
        environment = {**os.environ, "HOME": home}
        subprocess.run([str(FOLDER / "python"), "-c", _EXTENSIONS], env=environment, check=True, capture_output=True)
        server = BigQuery(f"http://{LOOPBACK}:{free_port()}")
        ports = ["--rest-port", server.url.rpartition(":")[2], "--grpc-port", str(free_port())]
        # Without the folder of the script, which has modules of other names.
        python = [str(FOLDER / "python"), "-P", str(_SERVER)]
        command = [*python, "start", *ports, "--project", PROJECT, "--log-level", "error"]
        with running(command, f"{server.url}/healthz", env=environment):
            server.client().create_dataset(DATASET)
            yield server


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client sent it."""

    method: str
    path: str
    body: dict[str, Any]

    @property
    def statement(self) -> str:
        """The statement of a query job, otherwise empty."""
        return str(self.body.get("configuration", {}).get("query", {}).get("query", ""))


@dataclass(slots=True)
class Recorder:
    """A proxy in front of the emulator.

    :param answers: what is answered in place of the emulator, once each: text that the request contains, status, and
        the reason and the message of the error.
    """

    url: str
    requests: list[Request] = field(default_factory=list)
    answers: list[tuple[str, int, str, str]] = field(default_factory=list)

    @property
    def statements(self) -> list[str]:
        return [request.statement for request in self.requests if request.statement]

    def answer(self, request: Request) -> tuple[int, bytes] | None:
        text = f"{request.method} {request.path} {request.statement}"
        for one in self.answers:
            part, status, reason, message = one
            if part in text:
                self.answers.remove(one)
                error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
                return status, json.dumps({"error": error}).encode()
        return None


@contextmanager
def recorder(server: BigQuery) -> Iterator[Recorder]:
    """Forward requests to the emulator and record them."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_json = "json" in self.headers.get("Content-Type", "")
            request = Request(self.command, self.path, json.loads(body) if is_json and body else {})
            recorded.requests.append(request)
            if answer := recorded.answer(request):
                self._send(*answer, {"Content-Type": "application/json"})
                return
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            forwarded = urllib.request.Request(server.url + self.path, body or None, kept, method=self.command)
            try:
                with urllib.request.urlopen(forwarded, timeout=60) as response:
                    self._send(response.status, response.read(), dict(response.headers))
            except urllib.error.HTTPError as error:
                self._send(error.code, error.read(), dict(error.headers))

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - as the base class names them

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as proxy:
        recorded = Recorder(f"http://{LOOPBACK}:{proxy.server_port}")
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield recorded
        finally:
            proxy.shutdown()
            thread.join()
