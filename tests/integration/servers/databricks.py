"""A double of a Databricks SQL warehouse, on a free loopback port.

The Thrift service is the one that the connector itself brings, over HTTPS and with a token; Sail runs the statements on
real Delta tables; a folder holds the volumes, whose files are sent to signed URLs. What Databricks does and Sail
does not is added to a statement here: tables are Delta tables, a column takes what fits its type, a missing file
is an error, and a conflict has Databricks' name.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import secrets
import ssl
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.servers import LOOPBACK, free_port, running
from tests.integration.servers.trouble import certificate

PROJECT = Path(__file__).resolve().parents[3]
HTTP_PATH = "/sql/1.0/warehouses/double"
WAREHOUSE = "Starter Warehouse"
CATALOG, SCHEMA = "main", "default"
VOLUME = f"/Volumes/{CATALOG}/{SCHEMA}/staging"

_CERTIFICATE, _STATEMENTS = "double.pem", "statements.jsonl"
_TOKEN, _SIGNATURE = "DOUBLE_TOKEN", "DOUBLE_SIGNATURE"


@dataclass(frozen=True, slots=True)
class Databricks:
    """The double, seen from a test.

    :param token: the password of its only user.
    :param signature: a part of the signed URLs.
    """

    port: int
    folder: Path
    token: str
    signature: str

    @property
    def certificate(self) -> Path:
        return self.folder / _CERTIFICATE

    def airflow_connection(self, **extra: Any) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it; an extra that is None is left out."""
        options = {
            "http_path": HTTP_PATH,
            "_port": self.port,
            "_tls_trusted_ca_file": str(self.certificate),
            "_retry_stop_after_attempts_count": 2,
            "_retry_delay_max": 5,
            "enable_telemetry": False,
            **extra,
        }
        given = {name: value for name, value in options.items() if value is not None}
        # The port is that of the REST API.
        return {
            "conn_type": "databricks",
            "host": "localhost",
            "port": self.port,
            "password": self.token,
            "extra": given,
        }

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        from databricks import sql

        options = {
            "_port": self.port,
            "_tls_trusted_ca_file": str(self.certificate),
            "enable_telemetry": False,
        }
        with (
            closing(sql.connect("localhost", HTTP_PATH, self.token, **options)) as connection,
            closing(connection.cursor()) as cursor,
        ):
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    def statements(self) -> list[str]:
        """Return what was sent since ``forget``."""
        path = self.folder / _STATEMENTS
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def forget(self) -> None:
        """Forget the statements and the failures."""
        self.forget_statements()
        self._control([])

    def forget_statements(self) -> None:
        (self.folder / _STATEMENTS).unlink(missing_ok=True)

    def fail(self, pattern: str, message: str = "", *, times: int = 1, storage: str = "") -> None:
        """Answer the next statements that match a pattern with an error.

        :param storage: instead, the signed URL answers so: a status, or ``unreachable``.
        """
        self._control([{"pattern": pattern, "message": message, "times": times, "storage": storage}])

    def staged(self) -> list[str]:
        """Return the files in the volumes."""
        root = self.folder / "Volumes"
        return sorted(str(path.relative_to(self.folder)) for path in root.rglob("*") if path.is_file())

    def _control(self, failures: list[dict[str, Any]]) -> None:
        request = urllib.request.Request(
            f"https://localhost:{self.port}/control",
            json.dumps(failures).encode(),
            {"Authorization": f"Bearer {self.token}"},
        )
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        urllib.request.urlopen(request, timeout=10, context=trusted).close()


@contextmanager
def databricks_server() -> Iterator[Databricks]:
    """Serve the double in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="cordial-databricks-") as name:
        server = Databricks(free_port(), Path(name), secrets.token_urlsafe(24), secrets.token_hex(16))
        (server.folder / VOLUME.lstrip("/")).mkdir(parents=True)
        certificate(server.certificate)
        environment = {
            **os.environ,
            _TOKEN: server.token,
            _SIGNATURE: server.signature,
            "SAIL_CATALOG__LIST": f'[{{type="memory", name="{CATALOG}", initial_database=["{SCHEMA}"]}}]',
            "SAIL_CATALOG__DEFAULT_CATALOG": CATALOG,
        }
        # Not as a script: its name is that of the connector's package.
        command = [sys.executable, "-m", "tests.integration.servers.databricks", name, str(server.port)]
        with running(command, server.port, env=environment, cwd=PROJECT):
            yield server


_PUT = re.compile(r"PUT '(?P<local>[^']+)' INTO '(?P<remote>/Volumes/[^']+)' OVERWRITE")
_REMOVE = re.compile(r"REMOVE '(?P<remote>/Volumes/[^']+)'")
_LIST = re.compile(r"LIST '(?P<remote>/Volumes/[^']+)'")
_CREATE = re.compile(r"CREATE TABLE .*", re.DOTALL)
_REPLACE = re.compile(r"(INSERT INTO (\S+) REPLACE WHERE .*?) (SELECT .*)", re.DOTALL)
_FILE = re.compile(r"parquet\.`([^`]+)`")
_PLACEHOLDER = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`|(\?)", re.DOTALL)

_TYPES = {"string": "STRING_TYPE", "int64": "BIGINT_TYPE", "int32": "INT_TYPE", "date32[day]": "DATE_TYPE"}


class _StatementError(Exception):
    """An error as Databricks words it."""


class _Service:
    """What the Thrift service asks for: the methods are named as there.

    :param url: of the volumes.
    """

    def __init__(self, folder: Path, url: str) -> None:
        from databricks.sql.thrift_api.TCLIService import ttypes
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession

        self.types: Any = ttypes
        self.folder = folder
        self.url = url
        self.failures: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        # It stops as soon as nobody refers to it.
        self._server = SparkConnectServer(LOOPBACK, 0)
        self._server.start(background=True)
        address: Any = self._server.listening_address
        # One session for all: Sail keeps the names of tables per session.
        self._spark: Any = SparkSession.builder.remote(f"sc://{LOOPBACK}:{address[1]}").getOrCreate()

    def OpenSession(self, request: Any) -> Any:  # noqa: N802
        version = self.types.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V8
        self._log(f"-- session {json.dumps(request.configuration, sort_keys=True)}")
        return self.types.TOpenSessionResp(
            status=self._status(),
            serverProtocolVersion=version,
            sessionHandle=self.types.TSessionHandle(self._handle(), version),
            initialNamespace=request.initialNamespace,
        )

    def CloseSession(self, _request: Any) -> Any:  # noqa: N802
        return self.types.TCloseSessionResp(self._status())

    def CloseOperation(self, _request: Any) -> Any:  # noqa: N802
        return self.types.TCloseOperationResp(self._status())

    def ExecuteStatement(self, request: Any) -> Any:  # noqa: N802
        """Run a statement to its end, and answer with all rows."""
        t = self.types
        try:
            self._log(request.statement)
            failure = self._failure(request.statement)
            if failure and failure["message"]:
                raise _StatementError(failure["message"])
            table, is_staging = self._run(request.statement, request.parameters or [], failure)
            results = t.TSparkDirectResults(
                operationStatus=t.TGetOperationStatusResp(
                    status=self._status(), operationState=t.TOperationState.FINISHED_STATE
                ),
                resultSetMetadata=self._metadata(table.schema, is_staging),
                resultSet=t.TFetchResultsResp(
                    status=self._status(),
                    hasMoreRows=False,
                    results=t.TRowSet(
                        startRowOffset=0,
                        rows=[],
                        arrowBatches=[
                            t.TSparkArrowBatch(some.serialize().to_pybytes(), some.num_rows)
                            for some in table.to_batches()
                        ],
                    ),
                ),
                closeOperation=t.TCloseOperationResp(self._status()),
            )
        except Exception as error:  # noqa: BLE001 - all of them are answers
            results = t.TSparkDirectResults(
                operationStatus=t.TGetOperationStatusResp(
                    status=self._status(),
                    operationState=t.TOperationState.ERROR_STATE,
                    displayMessage=_in_words_of_databricks(error),
                )
            )
        operation = t.TOperationHandle(self._handle(), t.TOperationType.EXECUTE_STATEMENT, True)
        return t.TExecuteStatementResp(status=self._status(), operationHandle=operation, directResults=results)

    def _run(self, statement: str, parameters: list[Any], failure: dict[str, Any] | None) -> tuple[Any, bool]:
        import pyarrow as pa

        for operation, pattern in (("PUT", _PUT), ("REMOVE", _REMOVE)):
            if match := pattern.fullmatch(statement):
                found = match.groupdict()
                url = self._signed(found["remote"], failure["storage"] if failure else "")
                row = {"operation": operation, "localFile": found.get("local"), "presignedUrl": url, "headers": "{}"}
                return pa.Table.from_pylist([row]), True
        if match := _LIST.fullmatch(statement):
            return self._list(match["remote"]), False
        return self._spark.sql(self._as_sail_takes_it(_bind(statement, parameters))).toArrow(), False

    def _signed(self, remote: str, storage: str) -> str:
        port = free_port() if storage == "unreachable" else None
        url = f"https://localhost:{port}" if port else self.url
        query = urllib.parse.urlencode({"status": storage, "X-Signature": os.environ[_SIGNATURE]})
        return f"{url}{urllib.parse.quote(remote)}?{query}"

    def _list(self, remote: str) -> Any:
        import pyarrow as pa

        path = self.folder / remote.lstrip("/")
        if not path.is_dir():
            msg = f"[PATH_NOT_FOUND] Path does not exist: {remote}. SQLSTATE: 42K03"
            raise _StatementError(msg)
        rows = [(f"dbfs:{remote}/{one.name}", one.name, one.stat().st_size) for one in sorted(path.iterdir())]
        names = ["path", "name", "size", "modification_time"]
        columns = [[row[n] for row in rows] for n in range(3)]
        types = [pa.string(), pa.string(), pa.int64()]
        arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
        return pa.table([*arrays, pa.array([0] * len(rows), pa.int64())], names=names)

    def _as_sail_takes_it(self, statement: str) -> str:
        for path in _FILE.findall(statement):
            if not (self.folder / path.lstrip("/")).exists():
                msg = f"[PATH_NOT_FOUND] Path does not exist: {path}. SQLSTATE: 42K03"
                raise _StatementError(msg)
        if _CREATE.fullmatch(statement):
            return f"{statement} USING DELTA LOCATION '{self.folder}/tables/{uuid.uuid4().hex}'"
        if match := _REPLACE.fullmatch(statement):
            head, table, query = match.groups()
            fields = self._spark.table(table.replace("`", "")).schema.fields
            names = ", ".join(f"c{n}" for n in range(len(fields)))
            casts = ", ".join(f"CAST(c{n} AS {field.dataType.simpleString()})" for n, field in enumerate(fields))
            statement = f"{head} SELECT {casts} FROM ({query}) AS q({names})"
        return statement.replace("parquet.`/Volumes/", f"parquet.`{self.folder}/Volumes/")

    def _failure(self, statement: str) -> dict[str, Any] | None:
        with self._lock:
            for failure in self.failures:
                if failure["times"] and re.search(failure["pattern"], statement, re.DOTALL):
                    failure["times"] -= 1
                    return failure
        return None

    def _log(self, statement: str) -> None:
        with self._lock, (self.folder / _STATEMENTS).open("a") as file:
            file.write(json.dumps(statement) + "\n")

    def _metadata(self, schema: Any, is_staging: bool) -> Any:
        t = self.types
        columns = []
        for place, field in enumerate(schema, 1):
            kind = getattr(t.TTypeId, _TYPES.get(str(field.type), "STRING_TYPE"))
            entry = t.TTypeEntry(primitiveEntry=t.TPrimitiveTypeEntry(kind))
            columns.append(t.TColumnDesc(field.name, t.TTypeDesc([entry]), place, ""))
        return t.TGetResultSetMetadataResp(
            status=self._status(),
            schema=t.TTableSchema(columns),
            resultFormat=t.TSparkRowSetType.ARROW_BASED_SET,
            lz4Compressed=False,
            arrowSchema=schema.serialize().to_pybytes(),
            isStagingOperation=is_staging,
        )

    def _status(self) -> Any:
        return self.types.TStatus(statusCode=self.types.TStatusCode.SUCCESS_STATUS)

    def _handle(self) -> Any:
        return self.types.THandleIdentifier(guid=uuid.uuid4().bytes, secret=b"0" * 16)


def _in_words_of_databricks(error: Exception) -> str:
    text = str(error)
    if "Failed to commit transaction" in text:
        return "[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Transaction conflict detected. SQLSTATE: 2D521"
    return text[:2000]


def _bind(statement: str, parameters: list[Any]) -> str:
    """Put parameters into a statement: Sail binds them in queries only."""
    if not parameters:
        return statement
    values = iter(parameters)

    def literal(match: re.Match[str]) -> str:
        if not match[1]:
            return match[0]
        value = next(values).value
        return "NULL" if value is None else "'" + value.stringValue.replace("\\", "\\\\").replace("'", "\\'") + "'"

    return _PLACEHOLDER.sub(literal, statement)


def _handler(service: _Service) -> type[http.server.BaseHTTPRequestHandler]:
    from databricks.sql.thrift_api.TCLIService import TCLIService
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol
    from thrift.transport.TTransport import TMemoryBuffer

    thrift: Any = TCLIService
    processor = thrift.Processor(service)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise each answer waits for an acknowledgement.
        disable_nagle_algorithm = True

        def log_message(self, *_arguments: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self._body()
            if not self._is_known():
                return
            if self.path == "/control":
                service.failures = json.loads(body)
                self._answer(200)
            elif self.path != HTTP_PATH:
                self._answer(404)
            else:
                out = TMemoryBuffer()
                processor.process(TBinaryProtocol(TMemoryBuffer(body)), TBinaryProtocol(out))
                self._answer(200, out.getvalue())

        def do_GET(self) -> None:
            if self._is_known():
                found = self.path.startswith("/api/2.0/sql/warehouses")
                one = {"name": WAREHOUSE, "odbc_params": {"path": HTTP_PATH}}
                self._answer(200 if found else 404, json.dumps({"warehouses": [one]}).encode())

        def do_PUT(self) -> None:
            body = self._body()
            if path := self._signed_path():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
                self._answer(200)

        def do_DELETE(self) -> None:
            if path := self._signed_path():
                self._answer(204 if path.exists() else 404)
                path.unlink(missing_ok=True)

        def _signed_path(self) -> Path | None:
            url = urllib.parse.urlsplit(self.path)
            query = urllib.parse.parse_qs(url.query)
            status = query.get("status", ["200"])[0]
            if query.get("X-Signature") != [os.environ[_SIGNATURE]]:
                status = "403"
            if status != "200":
                self._answer(int(status), f"<Code>Refused</Code><Url>{self.path}</Url>".encode())
                return None
            return service.folder / urllib.parse.unquote(url.path).lstrip("/")

        def _is_known(self) -> bool:
            given = self.headers.get("Authorization", "")
            if given == f"Bearer {os.environ[_TOKEN]}":
                return True
            self._answer(403, headers={"x-databricks-error-or-redirect-message": f"Invalid access token: {given}"})
            return False

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main(folder: Path, port: int) -> None:
    service = _Service(folder, f"https://localhost:{port}")
    server = http.server.ThreadingHTTPServer((LOOPBACK, port), _handler(service))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / _CERTIFICATE)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    subprocess_folder, subprocess_port = sys.argv[1:]
    main(Path(subprocess_folder), int(subprocess_port))
