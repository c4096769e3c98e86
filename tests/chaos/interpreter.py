"""Interpreter: a process with its own hash seed, which has imported everything and forks a process for each try.

``python -m tests.chaos.interpreter MODULE ...`` imports the modules and then runs the tries that it reads from its
standard input, one line of JSON each. It has no threads, so it can be forked.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Self

from tests.chaos.tries import Outcome, Try, run_try

PROJECT = Path(__file__).resolve().parents[2]

#: Seconds; no try takes that long.
HUNG = 60.0


class Interpreter:
    """Runs tries in new processes; a context manager.

    :param hash_seed: by which Python orders sets.
    :param modules: to import before the first try.
    :param home: Airflow's home.
    """

    def __init__(self, hash_seed: int, modules: tuple[str, ...], home: Path) -> None:
        self._hash_seed = hash_seed
        self._modules = modules
        self._home = home
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.interpreter", *self._modules],
            cwd=PROJECT,
            env={"AIRFLOW_HOME": str(self._home), **os.environ, "PYTHONHASHSEED": str(self._hash_seed)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # The end of its input ends it.
        self._process.stdin.close()
        self._process.wait(HUNG)
        self._process.stdout.close()

    def run(self, one: Try) -> Outcome:
        """Run a try in a process of its own, and return how it ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(one.to_json() + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the interpreter of the tries ended"
        return Outcome(**json.loads(line))


def serve(modules: list[str]) -> None:
    """Run the tries of the standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    for module in modules:
        importlib.import_module(module)
    # The collector would touch, and so copy, the pages that a forked process shares with this one.
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(asdict(_run_in_child(line, nowhere))), file=answers, flush=True)


def _run_in_child(line: str, nowhere: int) -> Outcome:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        status = 1
        try:
            os.dup2(nowhere, 2)
            outcome = run_try(Try(**json.loads(line)))
            with os.fdopen(writable, "w") as pipe:
                json.dump(asdict(outcome), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        if not select.select([pipe], [], [], HUNG)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return Outcome("error", f"it did not end within {HUNG} s")
        output = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Outcome("killed")
    assert status == 0, f"a try ended with {status}"
    return Outcome(**json.loads(output))


if __name__ == "__main__":
    serve(sys.argv[1:])
    # Nothing is left to do, and the cleanup of everything that was imported takes a while.
    os._exit(0)
