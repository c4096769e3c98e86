"""A PostgreSQL server for the tests, on a free loopback port."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.integration.servers import LOOPBACK, free_port, running

START_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Postgres:
    host: str
    port: int
    user: str
    password: str
    database: str

    def airflow_connection(self) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""
        return {
            "conn_type": "postgres",
            "host": self.host,
            "port": self.port,
            "login": self.user,
            "password": self.password,
            "schema": self.database,
        }

    def url(self, scheme: str) -> str:
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def with_database(self, name: str) -> Postgres:
        """Create a database, and return the server with it."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return replace(self, database=name)

    def connect(self) -> psycopg.Connection[Any]:
        """Connect; each statement is committed at once."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
            autocommit=True,
        )


def binaries() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``, if they are installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).resolve().parent if on_path else None


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Serve PostgreSQL with a password and its data in a temporary folder; for root as the user postgres."""
    folder = binaries()
    assert folder is not None
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="cordial-postgres-") as name:
        home = Path(name)
        password_file = home / "password"
        server = Postgres(LOOPBACK, free_port(), "airflow", secrets.token_urlsafe(12), "postgres")
        password_file.write_text(server.password)
        if as_user:
            for path in (home, password_file):
                shutil.chown(path, "postgres")
        options = ["-U", server.user, "-A", "scram-sha-256", f"--pwfile={password_file}", "-E", "UTF8", "--locale=C"]
        initdb = [*as_user, str(folder / "initdb"), "-D", str(home / "data"), *options, "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=home)
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={home}", "fsync=off"]
        command = [*as_user, str(folder / "postgres"), "-D", str(home / "data"), "-p", str(server.port)]
        command += [part for setting in settings for part in ("-c", setting)]
        # runuser forwards the signal.
        with running(command, server.port, cwd=home):
            _wait_until_it_accepts(server)
            yield server


def _wait_until_it_accepts(server: Postgres) -> None:
    """Wait beyond the moment when the port is open: until then it answers that it is starting up."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)
        else:
            return
