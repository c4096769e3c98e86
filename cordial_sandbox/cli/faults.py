"""``cordial-sandbox faults``: list, add, clear."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cordial_sandbox.cli.options import DEFAULT_DATA, AccountName, AsJson, Data
from cordial_sandbox.cli.remote import control, echo_json, echo_table

_COLUMNS = ("request", "effect", "status", "seconds", "processed", "times", "hits")

faults = typer.Typer(no_args_is_help=True, help="List, add, and clear the faults of requests.")


@faults.command("list")
def list_faults(data: Data = DEFAULT_DATA, account: AccountName = None, as_json: AsJson = False) -> None:
    """List the active faults; ``times`` is how many more requests each affects."""
    with control(data, account) as cordial:
        found = cordial.faults()
    if as_json:
        echo_json(found)
    else:
        echo_table(found, _COLUMNS, "No faults.")


@faults.command("add")
def add_fault(
    request: Annotated[str, typer.Argument(help="an operation, such as get_job; create_export; or any")],
    effect: Annotated[str, typer.Argument(help="answer, reset, truncate, or delay")],
    times: Annotated[int | None, typer.Option(help="number of requests to affect; unlimited by default")] = None,
    status: Annotated[int | None, typer.Option(help="status of an answer; 500 by default")] = None,
    header: Annotated[list[str] | None, typer.Option(help="'Name: value' of an answer; repeatable")] = None,
    body: Annotated[str | None, typer.Option(help="body of an answer")] = None,
    seconds: Annotated[float | None, typer.Option(help="how long to wait before the response")] = None,
    processed: Annotated[bool, typer.Option(help="process the request, and affect its response only")] = False,
    data: Data = DEFAULT_DATA,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Add a fault to one kind of request."""
    options: dict[str, Any] = {"times": times, "status": status, "body": body, "seconds": seconds}
    if header:
        pairs = [line.partition(":") for line in header]
        options["headers"] = {name.strip(): value.strip() for name, _, value in pairs}
    given = {name: value for name, value in options.items() if value is not None}
    with control(data, account) as cordial:
        cordial.fault(request, effect, processed=processed, **given)
    list_faults(data, account, as_json)


@faults.command("clear")
def clear_faults(data: Data = DEFAULT_DATA, account: AccountName = None, as_json: AsJson = False) -> None:
    """Delete all faults."""
    with control(data, account) as cordial:
        cordial.clear_faults()
    list_faults(data, account, as_json)
