"""The contract of the API, which is served at ``/openapi.json``."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _load() -> dict[str, Any]:
    contract: dict[str, Any] = json.loads(files("cordial_sandbox").joinpath("openapi.json").read_text("utf-8"))
    return contract


async def read_contract() -> dict[str, Any]:
    """Return an OpenAPI document, made from Cordial's documentation, of what the sandbox serves."""
    return _load()
