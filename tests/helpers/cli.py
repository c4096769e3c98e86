"""Run ``airflow cordial`` with the parser of Airflow, in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.cli import cli_parser


@dataclass(frozen=True)
class Done:
    """How a command has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cordial:
    """``cordial("jobs", "list")`` runs a command and returns what it printed."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Done:
        self._capture.readouterr()
        code: object = 0
        try:
            args = cli_parser.get_parser().parse_args(["cordial", *map(str, arguments)])
            args.func(args)
        except SystemExit as error:
            code = error.code or 0
        assert isinstance(code, int)
        printed = self._capture.readouterr()
        return Done(code, printed.out, printed.err)

    def json(self, *arguments: object) -> Any:
        """Run a command that succeeds, and return its JSON."""
        done = self(*arguments, "--output", "json")
        assert done.code == 0, done
        return done.json
