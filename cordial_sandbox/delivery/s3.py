"""Deliver to a bucket of Amazon S3, or of the server in ``AWS_ENDPOINT_URL_S3``.

Cordial does not document how such a delivery fails. The reasons are those of the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cordial_sandbox.delivery.errors import DeliveryError
from cordial_sandbox.delivery.file import FilePart
from cordial_sandbox.delivery.site import Site

_TIMEOUT = 15


async def deliver_s3(destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    return await asyncio.to_thread(_deliver, destination, file, site)


def _deliver(destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key = destination["aws_bucket"], file.key_under(str(destination["path"]).lstrip("/"))
    client = boto3.client(
        "s3",
        region_name=destination["aws_region"],
        # Without keys, Cordial uses its configured role. The sandbox uses the credentials of the environment.
        aws_access_key_id=destination.get("aws_access_key_id"),
        aws_secret_access_key=destination.get("aws_secret_access_key"),
        config=Config(connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT, retries={"total_max_attempts": 2}),
    )
    site.check(urlsplit(client.meta.endpoint_url).hostname or "")
    try:
        client.put_object(Bucket=bucket, Key=key, Body=file.content)
    except ClientError as error:
        msg = f"Unable to write to bucket '{bucket}': {error.response['Error'].get('Code')}"
        raise DeliveryError(msg) from None
    except BotoCoreError as error:
        msg = f"Unable to open connection to bucket '{bucket}': {type(error).__name__}"
        raise DeliveryError(msg) from None
    return f"s3://{bucket}/{key}"
