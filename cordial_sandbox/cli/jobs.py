"""``cordial-sandbox jobs``."""

from __future__ import annotations

from typing import Annotated

import typer

from cordial_sandbox.cli.options import DEFAULT_DATA, AccountName, AsJson, Data
from cordial_sandbox.cli.remote import control, echo_json, echo_table

_COLUMNS = ("id", "status", "kind", "name", "delivered_to", "reason")


def jobs(
    job_id: Annotated[str | None, typer.Argument(help="show all about this job")] = None,
    status: Annotated[str | None, typer.Option(help="list the jobs in this status only")] = None,
    limit: Annotated[int, typer.Option(min=1, max=20_000, help="list so many")] = 25,
    data: Data = DEFAULT_DATA,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs, or show one."""
    with control(data, account) as cordial:
        if job_id is not None:
            echo_json(cordial.job(job_id))
            return
        found = cordial.jobs(limit, status)
    if as_json:
        echo_json(found)
    else:
        echo_table(found, _COLUMNS, "No jobs.")
