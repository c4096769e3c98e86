"""Deliver to a container of Azure Blob Storage, in the account of ``AZURE_STORAGE_CONNECTION_STRING``.

Cordial does not document how such a delivery fails. The reasons are those of the service.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cordial_sandbox.delivery.errors import DeliveryError
from cordial_sandbox.delivery.file import FilePart
from cordial_sandbox.delivery.site import Site

_TIMEOUT = 15


async def deliver_azure_blob(destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    return await asyncio.to_thread(_deliver, destination, file, site)


def _deliver(destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    try:
        from azure.core.exceptions import AzureError, HttpResponseError
        from azure.storage.blob import BlobServiceClient, ContentSettings
    except ImportError:
        msg = "This sandbox cannot deliver to 'azureblob': the package azure-storage-blob is not installed."
        raise DeliveryError(msg) from None
    account, container = destination["account"], destination["container"]
    name = file.key_under(str(destination["path"]).strip("/"))
    # Cordial uses the access that the account has granted. The sandbox uses the environment.
    access = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    options: dict[str, Any] = {"connection_timeout": _TIMEOUT, "read_timeout": _TIMEOUT, "retry_total": 1}
    try:
        service = BlobServiceClient.from_connection_string(access, **options)
    except ValueError:
        service = None
    if service is None or service.account_name != account:
        msg = f"No access to the storage account '{account}'"
        raise DeliveryError(msg)
    site.check(urlsplit(f"//{service.primary_hostname}").hostname or "")
    try:
        with service:
            service.get_blob_client(container, name).upload_blob(
                file.content, overwrite=True, content_settings=ContentSettings(content_type="text/csv")
            )
    except HttpResponseError as error:
        msg = f"Unable to write to container '{container}': {getattr(error, 'error_code', None) or error.status_code}"
        raise DeliveryError(msg) from None
    except AzureError as error:
        msg = f"Unable to open connection to storage account '{account}': {type(error).__name__}"
        raise DeliveryError(msg) from None
    return f"wasbs://{container}@{account}/{name}"
