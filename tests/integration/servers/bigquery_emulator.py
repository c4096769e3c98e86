"""bqemulator, with the parameters of a query also in a script of several statements, as BigQuery binds them.

Run by the Python of the emulator's environment, with its command's arguments.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

from bqemulator.cli import main  # type: ignore[import-not-found]
from bqemulator.jobs import executor  # type: ignore[import-not-found]
from bqemulator.scripting import interpreter  # type: ignore[import-not-found]

_parameters: contextvars.ContextVar[Any] = contextvars.ContextVar("parameters", default=None)
_run_query_body, _bind_parameters = executor._run_query_body, interpreter.bind_parameters


async def run_query_body(*, query_params: Any, **options: Any) -> Any:
    _parameters.set(query_params)
    return await _run_query_body(query_params=query_params, **options)


def bind_parameters(statement: str, _: Any) -> Any:
    return _bind_parameters(statement, _parameters.get())


executor._run_query_body = run_query_body
interpreter.bind_parameters = bind_parameters
sys.exit(main())
