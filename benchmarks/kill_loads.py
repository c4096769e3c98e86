"""Whole or not at all: ``kill_loads.py [KILLS] [SEED]`` kills so many loads with SIGKILL, at random moments.

After each kill the table or folder must have exactly the old rows, or exactly the new ones, and the same load again
must end with the new ones. The exit code is 1 if it ever was neither.
"""

from __future__ import annotations

import logging
import multiprocessing.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.chaos.loads import (
    Target,
    file_databases,
    kill_loads,
    local_target,
    mariadb_target,
    postgres_target,
    s3_target,
)
from tests.integration.servers.embedded import s3_server
from tests.integration.servers.mariadb import mariadb_server, server_binary
from tests.integration.servers.postgres import binaries, postgres_server


def targets(stack: ExitStack, folder: Path) -> Iterator[Target]:
    if binaries() is not None:
        yield postgres_target(stack.enter_context(postgres_server()))
    yield from file_databases(folder)
    if server_binary() is not None:
        yield mariadb_target(stack.enter_context(mariadb_server()))
    yield local_target(folder / "files")
    yield s3_target(stack.enter_context(s3_server()))


def main(kills: int, seed: int) -> int:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    columns = ("kills", "old", "new", "neither", "retry failed")
    print(f"{'seed ' + str(seed):20}", *(f"{column:>12}" for column in columns))
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="cordial-kills-") as name, ExitStack() as stack:
        # As the folder of all: the servers run as other users.
        Path(name).chmod(0o1777)
        # The loads inherit both: their temporary files are removed with it. That of the processes is created before.
        multiprocessing.util.get_temp_dir()
        os.environ.update(TMPDIR=name, AIRFLOW_HOME=str(Path(name) / "airflow"))
        tempfile.tempdir = None
        everything = list(targets(stack, Path(name)))
        total = 0
        for number, target in enumerate(everything):
            started = time.monotonic()
            # As evenly as it can be divided.
            share = kills * (number + 1) // len(everything) - kills * number // len(everything)
            counts = kill_loads(target, share, seed)
            total += counts.kills
            row = (counts.kills, counts.old, counts.new, counts.neither, counts.retries)
            seconds = time.monotonic() - started
            print(f"{target.name:20}", *(f"{value:12}" for value in row), f"   {seconds:5.0f} s", flush=True)
            failures += counts.failures
    print(f"{'in all':20} {total:12}")
    for failure in failures[:10]:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["300"])[0]), int((sys.argv[2:] or ["1"])[0])))
