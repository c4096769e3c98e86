"""Reach a running sandbox, and print what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer

from cordial_sandbox.addresses import ADDRESS_FILE
from cordial_sandbox.control_client import SandboxControl


@contextmanager
def control(data: Path, account: str | None = None) -> Iterator[SandboxControl]:
    """Yield the control API of the sandbox that uses a data folder; exit with a message if that fails."""
    try:
        yield SandboxControl.at(json.loads((data / ADDRESS_FILE).read_text()), account)
    except FileNotFoundError:
        fail(
            f"{data} has no sandbox: start it with cordial-sandbox serve --data {data}, or name its folder with --data."
        )
    except OSError:
        fail(f"The sandbox of {data} is not running: start it with cordial-sandbox serve --data {data}")
    except ValueError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Exit with a message."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


def echo_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def echo_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """Print rows in aligned columns, or a line if there are none."""
    if not rows:
        typer.echo(empty)
        return
    cells = [list(columns), *([_text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(columns))]
    for line in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
