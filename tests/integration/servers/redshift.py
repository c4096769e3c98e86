"""A double of Amazon Redshift: PostgreSQL behind a proxy that reads files from S3, folds names, and counts bytes.

It is not Redshift: it has PostgreSQL's types and planner, enforces keys, and has columns without their encodings. What
it takes over from Redshift: the startup of its driver, ``COPY ... FROM 's3://...'`` of Parquet with the keys of the
statement and without ``REGION``, names in lower case even in quotes, the lengths of texts in bytes, snapshots per
transaction, and how it reports a conflict.
"""

from __future__ import annotations

import io
import re
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from tests.integration.servers import LOOPBACK, Bucket
from tests.integration.servers.postgres import Postgres

DATABASE = "redshift"

_SSL_REQUEST, _PROTOCOL = 80877103, 196608

#: A request to authenticate by one of a list of mechanisms.
_SASL = struct.pack(">i", 10)

_COPY = re.compile(
    r"COPY\s+(?P<table>[\w.\"]+)\s+FROM\s+'s3://(?P<bucket>[^/']+)/(?P<key>[^']+)'\s+(?P<options>.*)", re.I | re.S
)
_IAM_ROLE = re.compile(r"\bIAM_ROLE\s+'([^']+)'", re.I)
_CREDENTIALS = re.compile(r"\bCREDENTIALS\s+'([^']+)'", re.I)

#: A text, or a name in quotes.
_QUOTED = re.compile(r"""('(?:[^']|'')*')|("[^"]+")""")


class RefusedError(Exception):
    """A statement that Redshift refuses.

    :param code: SQLSTATE.
    """

    def __init__(self, text: str, *, code: str = "XX000", detail: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.detail = detail


@dataclass
class Redshift:
    """The double.

    :param postgres: the database behind it.
    :param bucket: the bucket that it reads; a role reads with these keys.
    :param folder: where PostgreSQL reads files.
    :param statements: what was asked for, in order, as the driver sent it.
    """

    postgres: Postgres
    bucket: Bucket
    folder: Path
    port: int = 0
    statements: list[str] = field(default_factory=list)
    _faults: list[tuple[str, Exception]] = field(default_factory=list)

    def airflow_connection(self) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        return {
            **self.postgres.airflow_connection(),
            "conn_type": "redshift",
            "port": self.port,
            "extra": {"ssl": False},
        }

    def fail_once(self, beginning: str, error: Exception) -> None:
        """Answer the next statement with this beginning by an error; ``ConnectionError`` closes the connection."""
        self._faults.append((beginning, error))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run statements in PostgreSQL itself, commit, and return the rows."""
        server = self.postgres
        with psycopg.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            dbname=server.database,
            autocommit=True,
            client_encoding="utf-8",
        ) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def translate(self, statement: str) -> str:
        """Return a statement as PostgreSQL runs it.

        :raises RefusedError: Redshift would refuse it.
        """
        self.statements.append(statement)
        for fault in self._faults:
            if statement.startswith(fault[0]):
                self._faults.remove(fault)
                raise fault[1]
        if match := _COPY.fullmatch(statement.strip()):
            return self._copy(match)
        return _QUOTED.sub(lambda found: found[1] or found[2].lower(), statement)

    def _copy(self, match: re.Match[str]) -> str:
        from pyarrow import csv, parquet

        if "PARQUET" not in match["options"].upper():
            raise RefusedError("the double copies only Parquet")
        if re.search(r"\bREGION\b", match["options"], re.I):
            raise RefusedError("REGION argument is not supported for PARQUET based COPY")
        rows = parquet.read_table(io.BytesIO(self._read(match)))
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".csv", delete=False) as file:
            csv.write_csv(rows, file, csv.WriteOptions(include_header=False))
        Path(file.name).chmod(0o644)
        return f"COPY {match['table']} FROM '{file.name}' (FORMAT CSV, NULL '')"

    def _read(self, match: re.Match[str]) -> bytes:
        import boto3
        from botocore.exceptions import ClientError

        if credentials := _CREDENTIALS.search(match["options"]):
            given = dict(part.split("=", 1) for part in credentials[1].split(";"))
        elif _IAM_ROLE.search(match["options"]):
            given = {"aws_access_key_id": self.bucket.access_key, "aws_secret_access_key": self.bucket.secret_key}
        else:
            raise RefusedError("No credentials were given: IAM_ROLE, or CREDENTIALS")
        client = boto3.client(
            "s3",
            endpoint_url=self.bucket.url,
            region_name=self.bucket.region,
            aws_access_key_id=given["aws_access_key_id"],
            aws_secret_access_key=given["aws_secret_access_key"],
            aws_session_token=given.get("token"),
        )
        try:
            content: bytes = client.get_object(Bucket=match["bucket"], Key=match["key"])["Body"].read()
        except ClientError as error:
            # As some servers do, it repeats what it was asked.
            detail = f"{error} in {match[0]}"
            raise RefusedError("S3ServiceException: Access Denied, Status 403", detail=detail) from error
        return content


@contextmanager
def redshift_double(postgres: Postgres, bucket: Bucket) -> Iterator[Redshift]:
    """Serve the double on a free port, in front of a database of its own."""
    with postgres.connect() as connection:
        connection.execute(
            # Without an encoding PostgreSQL counts bytes, as Redshift does.
            f"CREATE DATABASE {DATABASE} ENCODING 'SQL_ASCII' TEMPLATE template0"
        )
        connection.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_isolation = 'repeatable read'")
    with tempfile.TemporaryDirectory(prefix="cordial-redshift-") as name, socket.create_server((LOOPBACK, 0)) as server:
        # PostgreSQL runs as another user.
        folder = Path(name)
        folder.chmod(0o755)
        double = Redshift(replace(postgres, database=DATABASE), bucket, folder, server.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=_serve, args=(double, client), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield double
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _serve(double: Redshift, client: socket.socket) -> None:
    with client, suppress(EOFError, OSError):
        startup = _read_startup(client)
        with socket.create_connection((double.postgres.host, double.postgres.port)) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.sendall(startup)
            answering = threading.Thread(target=_answer, args=(server, client), daemon=True)
            answering.start()
            try:
                _ask(double, client, server)
            finally:
                # A socket that another thread reads from is only closed by this.
                with suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                answering.join()


def _read_startup(client: socket.socket) -> bytes:
    """Return the startup message with what PostgreSQL knows of it."""
    while True:
        body = _exactly(client, struct.unpack(">i", _exactly(client, 4))[0] - 4)
        if struct.unpack(">i", body[:4])[0] != _SSL_REQUEST:
            break
        client.sendall(b"N")
    words = body[4:].rstrip(b"\0").split(b"\0")
    given = dict(zip(words[::2], words[1::2], strict=False))
    parts = b"".join(name + b"\0" + given[name] + b"\0" for name in (b"user", b"database"))
    return _sized(struct.pack(">i", _PROTOCOL) + parts + b"\0")


def _ask(double: Redshift, client: socket.socket, server: socket.socket) -> None:
    was_refused = False
    while True:
        kind, body = _message(client)
        if was_refused and kind != b"S":
            # The protocol skips what follows an error until the client synchronizes.
            continue
        was_refused = False
        if kind in b"PQ":
            name, rest = body.split(b"\0", 1) if kind == b"P" else (None, body)
            statement, rest = rest.split(b"\0", 1)
            try:
                translated = double.translate(statement.decode())
            except RefusedError as error:
                was_refused = True
                client.sendall(_error(error))
                continue
            body = (b"" if name is None else name + b"\0") + translated.encode() + b"\0" + rest
        server.sendall(kind + _sized(body))
        if kind == b"X":
            return


def _answer(server: socket.socket, client: socket.socket) -> None:
    with suppress(EOFError, OSError):
        while True:
            kind, body = _message(server)
            if kind == b"S" and body.startswith(b"server_version\0"):
                body = b"server_version\x008.0.2\0"
            if kind == b"R" and body.startswith(_SASL):
                # The driver takes the end of the list for a name of its own.
                body = body[:-1]
            if kind == b"E" and b"\0C40001\0" in body:
                conflict = RefusedError("1023", detail="Serializable isolation violation on table - 1, a cycle: 1, 2")
                client.sendall(_error(conflict))
                continue
            client.sendall(kind + _sized(body))
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _error(error: RefusedError) -> bytes:
    fields = {"S": "ERROR", "C": error.code, "M": str(error), "D": error.detail}
    body = b"".join(f"{name}{text}".encode() + b"\0" for name, text in fields.items() if text)
    return b"E" + _sized(body + b"\0")


def _message(connection: socket.socket) -> tuple[bytes, bytes]:
    kind, size = struct.unpack(">ci", _exactly(connection, 5))
    return kind, _exactly(connection, size - 4)


def _sized(body: bytes) -> bytes:
    return struct.pack(">i", len(body) + 4) + body


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)
