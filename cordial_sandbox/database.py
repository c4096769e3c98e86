"""The one SQLite file of a sandbox: who may open it, its version, and facts about the sandbox itself."""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, func, inspect, select
from sqlalchemy.orm import Session

from cordial_sandbox.cipher import read_cipher
from cordial_sandbox.clock import Clock
from cordial_sandbox.tables import SCHEMA_VERSION, Base, Fact, JobRow


class Database:
    """The database of one sandbox, used from one thread.

    No other process writes to it, so facts, faults, and fates are cached in memory.

    :param data: folder that holds the database.
    :raises RuntimeError: another sandbox uses the folder, or one of another version wrote it.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock_folder(data)
        _make_files_private(data)
        self._engine = _create_engine(data / "sandbox.sqlite")
        _check_version(self._engine, data)
        Base.metadata.create_all(self._engine)
        self.cipher = read_cipher(data / "secrets.key")
        with self.session() as session:
            self._facts = {row.key: row.value for row in session.scalars(select(Fact))}
            #: The numbers of new jobs; while the sandbox runs, none is used again.
            self.job_numbers = itertools.count((session.scalar(select(func.max(JobRow.number))) or 0) + 1)
        self.set_fact("schema", {"version": SCHEMA_VERSION})
        clock = self.get_fact("clock", {"offset": 0.0, "stopped_at": None})
        self.clock = Clock(lambda state: self.set_fact("clock", state), **clock)

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        self._engine.dispose()
        os.close(self._lock)

    def get_fact(self, key: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a fact; store ``default`` first if the fact is unknown."""
        if key not in self._facts and default is not None:
            self.set_fact(key, default)
        return dict(self._facts.get(key, {}))

    def set_fact(self, key: str, value: Mapping[str, Any]) -> None:
        with self.session() as session:
            session.merge(Fact(key=key, value=dict(value)))
        self._facts[key] = dict(value)


def _check_version(engine: Engine, data: Path) -> None:
    if not inspect(engine).get_table_names():
        return
    with engine.connect() as connection:
        found = connection.execute(select(Fact.value).where(Fact.key == "schema")).scalar() or {"version": 1}
    if found["version"] != SCHEMA_VERSION:
        msg = (
            f"{data} was written by another version of the sandbox (schema {found['version']}, this one has "
            f"{SCHEMA_VERSION}). Choose another folder, or delete this one."
        )
        raise RuntimeError(msg)


def _lock_folder(data: Path) -> int:
    """Lock a folder while this process lives: two sandboxes on one folder would run the same jobs."""
    folder = os.open(data, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        msg = f"Another sandbox uses {data}. Stop it or choose another folder."
        raise RuntimeError(msg) from None
    return folder


def _make_files_private(data: Path) -> None:
    """Take the files of an earlier sandbox away from other users; whoever made the folder decided on its mode."""
    for pattern in ("sandbox.*", "secrets.key", "airflow-connections.json", "sftp_host_key"):
        for path in data.glob(pattern):
            path.chmod(0o600)


def _create_engine(path: Path) -> Engine:
    # SQLite creates its other files with the mode of this one.
    path.touch(mode=0o600)
    # Without hide_parameters, the log of a failed statement would contain a destination's secrets.
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False}, hide_parameters=True)
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # Survives a crash of this process; a crash of the machine may lose the last changes.
    cursor.execute("PRAGMA synchronous=NORMAL")
    # Settled jobs leave not even the encrypted secrets.
    cursor.execute("PRAGMA secure_delete=ON")
    # 32 MB, which hold the indexes of 100,000 jobs.
    cursor.execute("PRAGMA cache_size=-32000")
    cursor.close()
