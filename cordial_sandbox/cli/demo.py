"""``cordial-sandbox demo``."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cordial_sandbox.cli.options import AsJson, Port
from cordial_sandbox.cli.serve import print_address, run
from cordial_sandbox.settings import Settings


def demo(
    data: Annotated[Path | None, typer.Option(help="folder for the state; a temporary one by default")] = None,
    port: Port = 0,
    as_json: AsJson = False,
) -> None:
    """Serve an account in which something has happened: exports, a failure, a job that hangs, a fault."""
    from cordial_sandbox.demo import fill

    announce = print_address(as_json)

    def announce_and_fill(address: Mapping[str, Any]) -> None:
        announce(address)
        threading.Thread(target=fill, args=(address,), daemon=True).start()

    folder = tempfile.TemporaryDirectory(prefix="cordial-demo-")
    run(
        Settings(data=data or Path(folder.name) / "cordial", port=port, job_seconds=1.0),
        announce_and_fill,
        folder.cleanup,
    )
