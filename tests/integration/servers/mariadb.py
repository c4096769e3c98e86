"""A MariaDB server for the tests, on a free loopback port."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mysql.connector

from tests.integration.servers import LOOPBACK, free_port, running


@dataclass(frozen=True, slots=True)
class MariaDb:
    host: str
    port: int
    user: str
    password: str
    database: str

    def airflow_connection(self, **extra: Any) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        return {
            "conn_type": "mysql",
            "host": self.host,
            "port": self.port,
            "login": self.user,
            "password": self.password,
            "schema": self.database,
            # The other driver has to be compiled.
            "extra": {"client": "mysql-connector-python", **extra},
        }

    def connect(self) -> Any:
        """Connect; each statement is committed at once."""
        return mysql.connector.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.database,
            autocommit=True,
        )

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []


def server_binary() -> str | None:
    """Return the server, if it is installed with what creates its data."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    return shutil.which("mariadbd", path=path) if shutil.which("mariadb-install-db") else None


@contextmanager
def mariadb_server() -> Iterator[MariaDb]:
    """Serve MariaDB with a password and its data in a temporary folder; for root as the user mysql."""
    binary = server_binary()
    assert binary is not None
    with tempfile.TemporaryDirectory(prefix="cordial-mariadb-") as name:
        home = Path(name)
        data = home / "data"
        owner = ["--user=mysql"] if os.geteuid() == 0 else []
        if owner:
            shutil.chown(home, "mysql")
        create = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        ]
        # Two servers that share a folder for temporary tables remove each other's.
        own = {**os.environ, "TMPDIR": str(home)}
        subprocess.run([*create, "--skip-test-db", *owner], check=True, capture_output=True, cwd=home, env=own)
        server = MariaDb(LOOPBACK, free_port(), "airflow", secrets.token_urlsafe(12), "warehouse")
        first = home / "first.sql"
        first.write_text(
            f"CREATE DATABASE {server.database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n"
            f"CREATE USER '{server.user}'@'%' IDENTIFIED BY '{server.password}';\n"
            f"GRANT ALL ON *.* TO '{server.user}'@'%' WITH GRANT OPTION;\n"
        )
        if owner:
            shutil.chown(first, "mysql")
        options = [
            "--skip-name-resolve",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            f"--init-file={first}",
        ]
        command = [binary, "--no-defaults", f"--datadir={data}", f"--port={server.port}", *options, *owner]
        files = [f"--bind-address={LOOPBACK}", f"--socket={home / 'socket'}", f"--pid-file={home / 'pid'}"]
        # It takes connections only after the first statements.
        with running([*command, *files], server.port, cwd=home, env=own):
            yield server
