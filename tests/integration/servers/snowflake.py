"""fakesnow behind TLS, in a process of its own, with what Snowflake does otherwise.

fakesnow answers a database's error with status 500, which the client sends again for minutes; accepts any password;
enforces keys; keeps temporary stages, and the transactions of clients that are gone; and has no stage of a user.
Rules let a test refuse or change statements.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import ssl
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.integration.servers import LOOPBACK, free_port, running
from tests.integration.servers.trouble import certificate

PROJECT = Path(__file__).resolve().parents[3]
DATABASE, SCHEMA, USER = "DB1", "MARKETING", "CORDIAL_LOADER"

_CREATE = re.compile(r'CREATE TABLE (?:IF NOT EXISTS )?"?(\w+)')
_UNIQUE = re.compile(r", (PRIMARY|UNIQUE)(?: KEY)? \(([^)]*)\)")
_SHOW = re.compile(r'SHOW (PRIMARY|UNIQUE) KEYS IN TABLE "(\w+)"')
_DROP = re.compile(r"DROP TABLE IF EXISTS (\w+)")
_TEMPORARY_STAGE = re.compile(r"CREATE TEMPORARY STAGE (\w+)")
_DDL = re.compile(r"\s*(CREATE|DROP|ALTER|TRUNCATE)\b", re.IGNORECASE)


def installed_version() -> str | None:
    """Return the version of fakesnow, if it and its server are installed."""
    return version("fakesnow") if find_spec("fakesnow") and find_spec("uvicorn") else None


@dataclass(frozen=True, slots=True)
class Snowflake:
    port: int
    password: str
    certificate: Path

    def airflow_connection(self, **extra: Any) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        where = {"account": "fakesnow", "database": DATABASE, "warehouse": "WH", "host": "localhost", "port": self.port}
        return {
            "conn_type": "snowflake",
            "login": USER,
            "password": self.password,
            "schema": SCHEMA,
            # No OCSP for a certificate of its own; no telemetry.
            "extra": {
                **where,
                "insecure_mode": True,
                "session_parameters": {"CLIENT_TELEMETRY_ENABLED": False},
                **extra,
            },
        }

    def environment(self) -> dict[str, str]:
        """Return the variables with which a client trusts it."""
        return {"REQUESTS_CA_BUNDLE": str(self.certificate)}

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in a session of its own, and return its rows; dates as text."""
        return [tuple(row) for row in self.ask(query=statement)]

    def statements(self) -> list[str]:
        """Return what clients sent since the last call."""
        found: list[str] = self.ask(statements=True)
        return found

    def rule(self, pattern: str, **does: Any) -> None:
        """Treat the next statement that matches, or with ``times`` some of them, otherwise.

        ``error`` answers with a code, an SQLSTATE, and a message; ``replace`` has a pattern and its replacement;
        ``first`` is a statement that takes effect before, and is visible to the same transaction.
        """
        self.ask(rule={"pattern": pattern, "times": 1, **does})

    def end_sessions(self) -> None:
        """End all sessions, as Snowflake ends those of a client that is gone after some minutes."""
        self.ask(end_sessions=True)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the last session."""
        found: dict[str, Any] = self.ask(parameters=True)
        return found

    def files(self) -> list[str]:
        """Return the files on all stages."""
        found: list[str] = self.ask(files=True)
        return found

    def reset(self) -> None:
        self.ask(reset=True)

    def ask(self, **what: Any) -> Any:
        url = f"https://localhost:{self.port}/control"
        context = ssl.create_default_context(cafile=str(self.certificate))
        with urllib.request.urlopen(url, json.dumps(what).encode(), timeout=60, context=context) as answer:
            return json.load(answer)


@contextmanager
def snowflake_server(folder: Path) -> Iterator[Snowflake]:
    """Serve fakesnow on a free loopback port.

    :param folder: of the certificate, and of the files on stages.
    """
    server = Snowflake(free_port(), secrets.token_hex(12), certificate(folder / "localhost.pem"))
    command = [sys.executable, "-m", __name__, str(server.port), server.password, str(server.certificate)]
    # fakesnow leaves the files of its stages in the folder for temporary files.
    with running(command, server.port, cwd=PROJECT, env={**os.environ, "TMPDIR": str(folder)}):
        yield server


@dataclass
class _Rules:
    rules: list[dict[str, Any]] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    def take(self, statement: str) -> dict[str, Any]:
        for rule in self.rules:
            if rule["times"] > 0 and re.search(rule["pattern"], statement):
                rule["times"] -= 1
                return rule
        return {}


def _serve(port: int, password: str, pem: str) -> None:
    import duckdb
    import uvicorn
    from fakesnow.cursor import FakeSnowflakeCursor
    from fakesnow.transforms import stage
    from snowflake.connector.errors import ProgrammingError
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    # The package has a function of the same name.
    server: Any = import_module("fakesnow.server")
    rules = _Rules()
    temporary: dict[int, list[str]] = defaultdict(list)
    keys: dict[str, list[tuple[str, str]]] = {}
    execute = FakeSnowflakeCursor.execute
    bucket = Path(stage.LOCAL_BUCKET_PATH)
    # The user's own stage.
    admin = server.shared_fs.connect(DATABASE, SCHEMA)
    stages = "_fs_global._fs_information_schema._fs_stages"
    admin._duck_conn.execute(
        f"INSERT INTO {stages} (created_on, name, database_name, schema_name, url, has_credentials, "
        "has_encryption_key, owner, comment, type, owner_role_type, directory_enabled) "
        f"VALUES (now(), '~', '{DATABASE}', '{SCHEMA}', '', 'N', 'N', '', '', 'INTERNAL', 'ROLE', 'N')"
    )

    def remove(statement: str) -> str:
        folder = statement.split()[1].removeprefix("@~/")
        shutil.rmtree(bucket / DATABASE / SCHEMA / "~" / folder, ignore_errors=True)
        return "SELECT 1 WHERE FALSE"

    def without_keys(statement: str) -> str:
        """Keep the keys of a table out of the database, and list them."""
        if match := _DROP.match(statement):
            keys.pop(match[1].upper(), None)
        elif match := _CREATE.match(statement):
            keys.setdefault(match[1].upper(), _UNIQUE.findall(statement))
        elif (match := _SHOW.match(statement)) and match[2] in keys:
            rows = [
                f"('{kind}{n}', '{column.strip().strip(chr(34)).upper()}')"
                for n, (kind, columns) in enumerate(keys[match[2]])
                if kind == match[1]
                for column in columns.split(",")
            ]
            values = f"(VALUES {', '.join(rows)})" if rows else "(SELECT '', '' WHERE FALSE)"
            return f'SELECT * FROM {values} AS found ("constraint_name", "column_name")'
        return _UNIQUE.sub("", statement)

    def executed(cursor: Any, statement: str, *args: Any, **options: Any) -> Any:
        rules.statements.append(statement)
        rule = rules.take(statement)
        if "error" in rule:
            code, state, message = rule["error"]
            raise ProgrammingError(msg=message, errno=code, sqlstate=state)
        if "first" in rule:
            execute(cursor, rule["first"])
        if "replace" in rule:
            statement = re.sub(rule["replace"][0], rule["replace"][1], statement)
        if statement.startswith("REMOVE "):
            statement = remove(statement)
        try:
            if _DDL.match(statement):
                execute(cursor, "COMMIT")
            if match := _TEMPORARY_STAGE.match(statement):
                temporary[id(cursor._conn)].append(match[1])
            return execute(cursor, without_keys(statement), *args, **options)
        except duckdb.TransactionException as error:
            # Where DuckDB refuses at once, Snowflake waits; this is its error when too many wait.
            message = f"Statement has locked the table, and this lock has not yet been released. {error}"
            raise ProgrammingError(msg=message, errno=625, sqlstate="57014") from error
        except duckdb.Error as error:
            raise ProgrammingError(msg=str(error), errno=100072, sqlstate="22000") from error

    def end(token: str) -> None:
        """Roll back, and remove the temporary stages, of a session."""
        connection = server.sessions.pop(token)
        for name in temporary.pop(id(connection), ()):
            shutil.rmtree(bucket / DATABASE / SCHEMA / name, ignore_errors=True)
            admin._duck_conn.cursor().execute(f"DELETE FROM {stages} WHERE name = ?", [name])
        connection.close()

    def files() -> list[str]:
        return [str(path.relative_to(bucket)) for path in sorted(bucket.rglob("*")) if path.is_file()]

    async def login(request: Request) -> JSONResponse:
        import gzip

        body = await request.body()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        data = json.loads(body)["data"]
        rules.parameters = data["SESSION_PARAMETERS"]
        if data.get("PASSWORD") != password:
            message = "Incorrect username or password was specified."
            return JSONResponse({"data": {}, "code": "390100", "message": message, "success": False})
        answer = json.loads((await server.login_request(request)).body)
        # Without it a client does not end its session.
        answer["data"]["masterToken"] = answer["data"]["token"]
        return JSONResponse(answer)

    async def session(request: Request) -> JSONResponse:
        if request.query_params.get("delete"):
            end(server.to_token(request))
            return JSONResponse({"data": None, "code": None, "message": None, "success": True})
        answer: JSONResponse = await server.session(request)
        return answer

    async def control(request: Request) -> Response:
        what = await request.json()
        answer: Any = None
        if "query" in what:
            cursor = server.shared_fs.connect(DATABASE, SCHEMA).cursor()
            execute(cursor, without_keys(what["query"]))
            answer = [[int(x) if isinstance(x, Decimal) else x for x in row] for row in cursor.fetchall()]
        elif "rule" in what:
            rules.rules.append(what["rule"])
        elif "end_sessions" in what:
            for token in list(server.sessions):
                end(token)
        elif "parameters" in what:
            answer = rules.parameters
        elif "files" in what:
            answer = files()
        elif "statements" in what:
            answer, rules.statements = rules.statements, []
        else:
            rules.__init__()  # type: ignore[misc]
        return Response(json.dumps(answer, default=str))

    FakeSnowflakeCursor.execute = executed  # type: ignore[method-assign, assignment]
    server.app.router.routes[:0] = [
        Route("/session/v1/login-request", login, methods=["POST"]),
        Route("/session", session, methods=["POST"]),
        Route("/control", control, methods=["POST"]),
    ]
    uvicorn.run(
        server.app, host=LOOPBACK, port=port, ssl_certfile=pem, log_level="warning", timeout_graceful_shutdown=1
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("password")
    parser.add_argument("pem")
    given = parser.parse_args()
    _serve(given.port, given.password, given.pem)
