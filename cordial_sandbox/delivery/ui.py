"""Deliver to the sandbox's own Jobs page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cordial_sandbox.delivery.file import FilePart
from cordial_sandbox.delivery.site import Site


async def deliver_ui(_destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    # One folder per job: two jobs may deliver files of the same name.
    folder = site.data / "downloads" / file.job_id
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / file.partial_name
    partial.write_bytes(file.content)
    return str(partial.replace(folder / file.name).relative_to(site.data))
