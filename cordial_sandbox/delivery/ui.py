"""Deliver to the sandbox's own Jobs page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cordial_sandbox.delivery.file import DeliveredFile


async def deliver_ui(_destination: Mapping[str, Any], file: DeliveredFile, data: Path) -> str:
    # The Jobs page has a file for each job, also for two of one name.
    folder = data / "downloads" / file.job_id
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / file.unfinished
    unfinished.write_bytes(file.content)
    return str(unfinished.replace(folder / file.name).relative_to(data))
