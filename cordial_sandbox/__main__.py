"""Run the command line with ``python -m cordial_sandbox``."""

from cordial_sandbox.cli import app

app()
