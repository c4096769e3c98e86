"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA = Path("cordial")

Data = Annotated[Path, typer.Option(envvar="CORDIAL_SANDBOX_DATA", help="folder for the state and the delivered files")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: the port of the last start, or a free one")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
AccountName = Annotated[str | None, typer.Option("--account", help="name of the account; the first one by default")]
