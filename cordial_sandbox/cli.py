"""The command line: ``cordial-sandbox serve``."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cordial_sandbox.settings import DEFAULT_API_KEY, Settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="A local Cordial.")


@app.callback()
def main() -> None:
    """Keep ``serve`` as a subcommand even though it is the only command."""


@app.command()
def serve(
    data: Annotated[Path, typer.Option(help="folder for the state and the delivered files")],
    seed: Annotated[Path | None, typer.Option(help="YAML file of accounts; by default one account is built in")] = None,
    port: Annotated[int, typer.Option(help="0: the port of the last start, or a free one")] = 0,
    sftp_port: Annotated[int, typer.Option(help="0: the port of the last start, or a free one")] = 0,
    api_key: Annotated[str, typer.Option(envvar="CORDIAL_SANDBOX_API_KEY")] = DEFAULT_API_KEY,
    sftp_password: Annotated[
        str | None, typer.Option(envvar="CORDIAL_SANDBOX_SFTP_PASSWORD", help="generated at the first start by default")
    ] = None,
    job_seconds: Annotated[float, typer.Option(min=0, help="how long a job takes")] = 2.0,
    stop_on_eof: Annotated[bool, typer.Option(help="stop when standard input is closed")] = False,
) -> None:
    """Serve on loopback until SIGINT or SIGTERM arrives."""
    from cordial_sandbox.serve import serve as serve_until_stopped

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("asyncssh", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings = Settings(
        data=data,
        seed=seed,
        port=port,
        sftp_port=sftp_port,
        api_key=api_key,
        sftp_password=sftp_password,
        job_seconds=job_seconds,
        stop_on_eof=stop_on_eof,
    )
    try:
        asyncio.run(_serve_and_exit(serve_until_stopped(settings)))
    except (ValueError, RuntimeError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


async def _serve_and_exit(serving: Coroutine[Any, Any, None]) -> NoReturn:
    await serving
    logging.shutdown()
    # Not by returning: that waits for threads, and one may deliver a file to a slow server. Its job resumes.
    os._exit(0)
