"""Deliver a file: one module a destination, and one line for it here."""

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
    """Deliver a file whole, replacing one of the same name, and return where it is; the same when repeated.

    :param destination: as the request had it, with its secrets.
    :param data: the sandbox's own folder.
    :raises DeliveryError: with the text that Cordial documents, where it documents one.
    """
    return await _DELIVERIES[destination["type"]](destination, file, data)
