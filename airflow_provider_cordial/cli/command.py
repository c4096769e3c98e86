"""What all commands share: where connections are read, where the log is written, and how an error ends a command."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

from airflow_provider_cordial._compat import AirflowException
from airflow_provider_cordial.cli.output import only_results, printable_lines
from airflow_provider_cordial.exceptions import InvalidParameterError

#: Exit codes: a check, a job, or a request failed; the input is invalid, and nothing was sent.
FAILED = 1
INVALID = 2
INTERRUPTED = 130

#: Airflow's own: whether a process reads connections from the metadata database.
_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"

_PROVIDER = "airflow_provider_cordial"


def command(run: Callable[[Namespace], int | None]) -> Callable[[Namespace], None]:
    """Make a command of a function that returns the exit code, None for 0."""

    @wraps(run)
    def main(args: Namespace) -> None:
        try:
            with _connections_of_the_database(), only_results(), _log_on_stderr():
                code = _run(run, args)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the output has ended; Python must not write the rest at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = FAILED
        if code:
            sys.exit(code)

    return main


def _run(run: Callable[[Namespace], int | None], args: Namespace) -> int:
    try:
        return run(args) or 0
    except AirflowException as error:
        sys.stderr.write(f"{printable_lines(error)}\n")
        return INVALID if isinstance(error, InvalidParameterError) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


@contextmanager
def _connections_of_the_database() -> Iterator[None]:
    """Read connections from the metadata database too, as ``airflow connections test`` does."""
    before = os.environ.get(_CONTEXT)
    os.environ[_CONTEXT] = before or "server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CONTEXT]


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Write the log to stderr, and of other packages only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.startswith(_PROVIDER))
    root, logger = logging.getLogger(), logging.getLogger(_PROVIDER)
    handlers, level = root.handlers, logger.level
    root.handlers = [handler]
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = handlers
        logger.setLevel(level)
