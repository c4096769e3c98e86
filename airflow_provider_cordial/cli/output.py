"""Print results: a table for people, or JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from io import TextIOWrapper
from typing import Any, TextIO

_results: ContextVar[TextIO | None] = ContextVar("results", default=None)

#: Columns where the output is not a terminal.
WIDTH = 200


@contextmanager
def only_results() -> Iterator[None]:
    """Let stdout have nothing but results: what anything else prints, loggers for instance, is written to stderr."""
    token = _results.set(sys.stdout)
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal may lack the characters of a name.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results.reset(token)


def _stdout() -> TextIO:
    return _results.get() or sys.stdout


def printable(value: object) -> str:
    """Return a text without characters that would control a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(value))


def printable_lines(value: object) -> str:
    """Return a text of several lines without other characters that would control a terminal."""
    return "\n".join(map(printable, str(value).split("\n")))


def write_json(value: Any) -> None:
    """Print JSON."""
    _stdout().write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_line(text: str) -> None:
    """Print a line."""
    _stdout().write(printable(text) + "\n")


def build_console() -> Any:
    """Return rich's console for stdout; texts are printed as they are."""
    from rich.console import Console

    console = Console(file=_stdout(), markup=False, highlight=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def write_table(
    rows: Iterable[Sequence[object]], columns: Sequence[str], *, style: Callable[[str], str] | None = None
) -> None:
    """Print a table.

    :param style: rich's style of a cell, by its text.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = ["" if value is None else printable_lines(value) for value in row]
        table.add_row(*(Text(cell, style=style(cell) if style else "") for cell in cells))
    build_console().print(table)


def write_record(record: Mapping[str, Any]) -> None:
    """Print the members of a record as a table."""
    rows = (
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in record.items()
    )
    write_table(rows, ("member", "value"))
