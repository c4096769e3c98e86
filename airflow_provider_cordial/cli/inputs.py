"""What the options of several commands mean."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, date
from pathlib import Path
from typing import Any

from airflow_provider_cordial.destinations import Destination, destination_from_json
from airflow_provider_cordial.exceptions import InvalidParameterError
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.columns import Columns
from airflow_provider_cordial.trends.coverage import Coverage, expected_days, parse_audiences, read_coverage
from airflow_provider_cordial.trends.tables import Staging

_FLAGS = {"true": True, "false": False}


def read_audiences(args: Namespace) -> tuple[str, ...] | dict[str, date]:
    """Return the audiences; with the first day of each, if the file has them.

    :raises InvalidParameterError: there are none, or the file cannot be read.
    """
    if not args.audiences_file:
        if not args.audiences:
            msg = "Missing audiences: name each with --audience, or all in a file with --audiences-file."
            raise InvalidParameterError(msg)
        return parse_audiences(args.audiences)
    if args.audiences:
        msg = "Both --audience and --audiences-file are set: set one or the other."
        raise InvalidParameterError(msg)
    return parse_audiences(_read_file(args.audiences_file))


def _read_file(name: str) -> Any:
    """Return the content of a JSON file, or the lines of another one."""
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
        return json.loads(text) if name.endswith(".json") else [line for line in text.splitlines() if line.strip()]
    except OSError as error:
        msg = f"Cannot read the audiences from {name!r}: {error.strerror}."
        raise InvalidParameterError(msg) from None
    except ValueError as error:
        msg = f"Cannot read the audiences from {name!r}: {error}."
        raise InvalidParameterError(msg) from None


def read_destination(given: Sequence[str] | None) -> Destination:
    """Return a destination: ``TYPE KEY=VALUE ...``, or JSON.

    :raises InvalidParameterError: it is missing or invalid.
    """
    if not given:
        msg = "Missing destination: set it, for example --destination sftp conn_id=sftp_default path=exports"
        raise InvalidParameterError(msg)
    kind, *members = given
    if kind.lstrip().startswith("{"):
        try:
            return destination_from_json(json.loads(" ".join(given)))
        except json.JSONDecodeError as error:
            msg = f"Invalid destination: the JSON cannot be read ({error.msg}, column {error.colno})."
            raise InvalidParameterError(msg) from None
    record: dict[str, Any] = {"type": kind}
    for member in members:
        name, equals, value = member.partition("=")
        if not (name and equals):
            # Not the text: it may be a misplaced secret.
            msg = f"Invalid member of destination {kind!r}: expected KEY=VALUE, path=exports for example."
            raise InvalidParameterError(msg)
        record[name] = _FLAGS.get(value, value)
    return destination_from_json(record)


def read_columns(args: Namespace) -> Columns:
    """Return the columns of the table."""
    return Columns(names=dict(args.column), scope=dict(args.scope), constants=dict(getattr(args, "constant", ())))


def read_staging(args: Namespace, *, owner: str = "manual") -> Staging:
    """Return the staging location.

    :param owner: a folder that no other load uses at the same time.
    """
    return Staging(location=args.staging, conn_id=args.staging_conn_id, owner=owner)


def read_days(args: Namespace) -> Timeframe:
    """Return the days that the table should have.

    The connection to Cordial is read only for what depends on the account's time zone.
    """
    from airflow_provider_cordial.hooks.cordial import CordialHook

    zone = UTC if args.last_day else CordialHook(args.cordial_conn_id).connection.timezone
    return expected_days(args.first_day, args.last_day, timezone=zone, lag=args.lag)


def ask_table(args: Namespace) -> Coverage:
    """Return what the table has of the audiences and days."""
    return read_coverage(
        args.conn_id,
        args.table,
        read_audiences(args),
        read_days(args),
        columns=read_columns(args),
        create_table=getattr(args, "create_table", False),
        staging=read_staging(args),
    )
