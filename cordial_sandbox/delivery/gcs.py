"""Deliver to a bucket of Google Cloud Storage, or of the server in ``STORAGE_EMULATOR_HOST``.

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


async def deliver_gcs(destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    return await asyncio.to_thread(_deliver, destination, file, site)


def _deliver(destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    try:
        import google.auth
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage
    except ImportError:
        msg = "This sandbox cannot deliver to 'gcs': the package google-cloud-storage is not installed."
        raise DeliveryError(msg) from None
    endpoint = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com")
    site.check(urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or "")
    bucket, key = destination["gcs_bucket"], file.key_under(str(destination["path"]).strip("/"))
    try:
        # Cordial uses its enabled integration. The sandbox uses the credentials of the environment.
        is_anonymous = "STORAGE_EMULATOR_HOST" in os.environ and "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ
        credentials = AnonymousCredentials() if is_anonymous else google.auth.default()[0]  # type: ignore[no-untyped-call]
        client = storage.Client(project="sandbox", credentials=credentials)
        blob = client.bucket(bucket).blob(key)
        # A write to an object store is atomic, so it needs no temporary name.
        blob.upload_from_string(file.content, content_type="text/csv", timeout=_TIMEOUT, retry=None)
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        msg = f"Unable to write to bucket '{bucket}': {type(error).__name__}"
        raise DeliveryError(msg) from None
    return f"gs://{bucket}/{key}"
