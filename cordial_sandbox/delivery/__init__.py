"""Deliver files: one module and one registry entry per destination."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cordial_sandbox.delivery.azure_blob import deliver_azure_blob
from cordial_sandbox.delivery.errors import DeliveryError
from cordial_sandbox.delivery.file import DeliveredFile, FilePart
from cordial_sandbox.delivery.ftp import deliver_ftp
from cordial_sandbox.delivery.gcs import deliver_gcs
from cordial_sandbox.delivery.s3 import deliver_s3
from cordial_sandbox.delivery.sftp import deliver_sftp
from cordial_sandbox.delivery.site import Site
from cordial_sandbox.delivery.ui import deliver_ui

__all__ = ["DeliveredFile", "DeliveryError", "Site", "deliver"]

Deliver = Callable[[Mapping[str, Any], FilePart, Site], Awaitable[str]]

_DELIVERIES: dict[str, Deliver] = {
    "aws": deliver_ui,
    "azureblob": deliver_azure_blob,
    "ftp": deliver_ftp,
    "gcs": deliver_gcs,
    "s3": deliver_s3,
    "sftp": deliver_sftp,
}


async def deliver(destination: Mapping[str, Any], file: DeliveredFile, site: Site) -> str:
    """Deliver a complete file and return its location, or that of its first part; replace a file of the same name.

    :param destination: the request's destination, with its secrets.
    :raises DeliveryError: the delivery failed; has Cordial's documented text if there is one.
    """
    try:
        locations = [await _DELIVERIES[destination["type"]](destination, part, site) for part in file.parts()]
    except (OSError, ValueError) as error:
        # What no client can use: a host, region, or bucket of an impossible form, or a name that is too long. The text
        # of a ValueError may repeat a secret.
        reason = error.strerror if isinstance(error, OSError) else None
        msg = f"The destination cannot be used: {reason or type(error).__name__}"
        raise DeliveryError(msg) from None
    return locations[0]
