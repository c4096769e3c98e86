"""``cordial-sandbox seed``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cordial_sandbox.cli.options import AsJson
from cordial_sandbox.cli.remote import echo_json, fail
from cordial_sandbox.settings import DEFAULT_API_KEY


def seed(
    check: Annotated[Path | None, typer.Option(help="check this seed file instead, and print its accounts")] = None,
    account: Annotated[str, typer.Option(help="name of the account")] = "default",
    audiences: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="number of generated audiences; by default the built-in ones")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="day of the first snapshot of generated audiences")
    ] = None,
    timezone: Annotated[str, typer.Option(help="time zone of the account")] = "America/Los_Angeles",
    api_key: Annotated[str, typer.Option(envvar="CORDIAL_SANDBOX_API_KEY")] = DEFAULT_API_KEY,
    as_json: AsJson = False,
) -> None:
    """Print a seed file to edit, for ``serve --seed``."""
    from pydantic import ValidationError

    from cordial_sandbox.accounts import BUILT_IN_AUDIENCES, Account, ApiKey, Audience, read_seed

    try:
        if check is not None:
            accounts = list(read_seed(check))
        else:
            first = {} if since is None else {"since": since.date()}
            generated = [Audience(name=f"audience_{n:05d}", seed=n, **first) for n in range(1, (audiences or 0) + 1)]
            key = ApiKey(key=api_key)
            accounts = [
                Account(name=account, keys=(key,), timezone=timezone, audiences=tuple(generated) or BUILT_IN_AUDIENCES)
            ]
    except ValidationError as error:
        fail(
            "\n".join(f"Invalid {one['loc'][0]}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors())
        )
    except ValueError as error:
        fail(str(error))
    content = {"accounts": [one.model_dump(mode="json", by_alias=True, exclude_defaults=True) for one in accounts]}
    if as_json:
        echo_json(content)
    else:
        typer.echo(_to_yaml(content), nl=False)


def _to_yaml(content: Any) -> str:
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
