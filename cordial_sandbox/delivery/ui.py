"""Deliver to the sandbox's own Jobs page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


async def deliver_ui(_destination: Mapping[str, Any], file_name: str, content: bytes, data: Path) -> str:
    folder = data / "downloads"
    folder.mkdir(exist_ok=True)
    unfinished = folder / f".{file_name}.part"
    unfinished.write_bytes(content)
    return str(unfinished.replace(folder / file_name).relative_to(data))
