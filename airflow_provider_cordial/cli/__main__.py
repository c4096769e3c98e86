"""``python -m airflow_provider_cordial.cli``: the commands for Airflow before 3.2, without ``airflow cordial``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from airflow.cli.cli_config import ActionCommand, GroupCommand

from airflow_provider_cordial.cli.definition import get_commands


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the commands."""
    (group,) = get_commands()
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_cordial.cli", description=group.help)
    _add_commands(parser, group.subcommands)
    return parser


def _add_commands(parser: argparse.ArgumentParser, commands: Iterable[ActionCommand | GroupCommand]) -> None:
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        one = parsers.add_parser(command.name, help=command.help, description=command.description or command.help)
        if isinstance(command, GroupCommand):
            _add_commands(one, command.subcommands)
        else:
            _add_options(one, command)


def _add_options(parser: argparse.ArgumentParser, command: ActionCommand) -> None:
    for option in command.args:
        option.add_to_parser(parser)
    parser.set_defaults(func=command.func)


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run a command."""
    args = build_parser().parse_args(arguments)
    return args.func(args)


if __name__ == "__main__":
    main()
