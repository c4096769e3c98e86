"""``cordial-sandbox reset``, ``export-state``, and ``import-state``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cordial_sandbox.cli.options import DEFAULT_DATA, AccountName, AsJson, Data
from cordial_sandbox.cli.remote import control, echo_json, fail

_STDIO = Path("-")


def reset(data: Data = DEFAULT_DATA, account: AccountName = None, as_json: AsJson = False) -> None:
    """Delete jobs, files, faults, fates, and requests, and restore the behavior of the start.

    Without an account it resets all of them, and the clock.
    """
    with control(data, account) as cordial:
        cordial.reset()
    _confirm("Reset the sandbox.", {"reset": account or "all"}, as_json)


def export_state(
    file: Annotated[Path, typer.Argument(help="file to write; - for standard output")] = _STDIO,
    data: Data = DEFAULT_DATA,
) -> None:
    """Write jobs with their files, behavior, faults, fates, and the clock as JSON; no secret is in it."""
    with control(data) as cordial:
        state = cordial.export_state()
    text = json.dumps(state, indent=1, ensure_ascii=False)
    if file == _STDIO:
        typer.echo(text)
    else:
        file.write_text(text, encoding="utf-8")


def import_state(
    file: Annotated[Path, typer.Argument(help="file of export-state; - for standard input")] = _STDIO,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Replace the state by an exported one; its accounts must exist here."""
    try:
        state: Any = json.loads(sys.stdin.read() if file == _STDIO else file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"Cannot read {file}: {error}")
    with control(data) as cordial:
        cordial.import_state(state)
    jobs = {name: len(account["jobs"]) for name, account in state["accounts"].items()}
    _confirm(f"Imported {sum(jobs.values())} jobs.", {"jobs": jobs}, as_json)


def _confirm(text: str, value: Any, as_json: bool) -> None:
    if as_json:
        echo_json(value)
    else:
        typer.echo(text)
