"""The command line ``cordial-sandbox``: one module per group of commands."""

from __future__ import annotations

import typer

from cordial_sandbox.cli.demo import demo
from cordial_sandbox.cli.faults import faults
from cordial_sandbox.cli.jobs import jobs
from cordial_sandbox.cli.seed import seed
from cordial_sandbox.cli.serve import serve
from cordial_sandbox.cli.state import export_state, import_state, reset

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="A local Cordial: serve it, and inspect and change one that is running.",
)
app.command()(serve)
app.command()(seed)
app.command()(demo)
app.add_typer(faults, name="faults")
app.command()(jobs)
app.command()(reset)
app.command("export-state")(export_state)
app.command("import-state")(import_state)
