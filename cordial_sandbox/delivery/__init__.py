"""Deliver files: one module and one registry entry per destination."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from cordial_sandbox.delivery.azure_blob import deliver_azure_blob
from cordial_sandbox.delivery.errors import DeliveryError
from cordial_sandbox.delivery.file import DeliveredFile
from cordial_sandbox.delivery.ftp import deliver_ftp
from cordial_sandbox.delivery.gcs import deliver_gcs
from cordial_sandbox.delivery.s3 import deliver_s3
from cordial_sandbox.delivery.sftp import deliver_sftp
from cordial_sandbox.delivery.ui import deliver_ui

__all__ = ["DeliveredFile", "DeliveryError", "deliver"]

Deliver = Callable[[Mapping[str, Any], DeliveredFile, Path], Awaitable[str]]

_DELIVERIES: dict[str, Deliver] = {
    "aws": deliver_ui,
    "azureblob": deliver_azure_blob,
    "ftp": deliver_ftp,
    "gcs": deliver_gcs,
    "s3": deliver_s3,
    "sftp": deliver_sftp,
}


async def deliver(destination: Mapping[str, Any], file: DeliveredFile, data: Path) -> str:
    """Deliver a complete file and return its location; replace a file of the same name.

    :param destination: the request's destination, with its secrets.
    :param data: the sandbox's own folder.
    :raises DeliveryError: the delivery failed; has Cordial's documented text if there is one.
    """
    return await _DELIVERIES[destination["type"]](destination, file, data)
