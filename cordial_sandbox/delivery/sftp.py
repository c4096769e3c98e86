"""Deliver over SFTP.

Source of the reasons: Cordial, "Global API error responses", STORAGE_CONNECTION_ERROR.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncssh

from cordial_sandbox.delivery.errors import DeliveryError
from cordial_sandbox.delivery.file import FilePart
from cordial_sandbox.delivery.site import Site
from cordial_sandbox.vault import Vault

_CONNECT_TIMEOUT = 10
_TRANSFER_TIMEOUT = 60


async def deliver_sftp(destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    server, port = destination["server"], int(destination.get("port") or 22)
    path = str(destination["path"])
    site.check(server)
    saved_key = Vault(site.data).private_key(destination.get("savedKey") or "")
    try:
        connection = await asyncssh.connect(
            server,
            port,
            username=destination["username"],
            password=None if saved_key else destination["password"],
            # Cordial does not document which host keys it trusts. The sandbox accepts any.
            known_hosts=None,
            client_keys=[str(saved_key)] if saved_key else None,
            agent_path=None,
            config=None,
            connect_timeout=_CONNECT_TIMEOUT,
            login_timeout=_CONNECT_TIMEOUT,
        )
    except asyncssh.PermissionDenied:
        msg = "Login failed."
        raise DeliveryError(msg) from None
    except (OSError, TimeoutError, asyncssh.Error):
        msg = f"Unable to open connection to {server} : {port}"
        raise DeliveryError(msg) from None
    target = f"{path.rstrip('/')}/{file.name}"
    partial = f"{path.rstrip('/')}/{file.partial_name}"
    try:
        async with asyncio.timeout(_TRANSFER_TIMEOUT), connection, connection.start_sftp_client() as client:
            if not await client.isdir(path):
                msg = f"Invalid file path '{path}'."
                raise DeliveryError(msg)
            async with client.open(partial, "wb") as opened:
                for chunk in file.chunks():
                    await opened.write(chunk)
                    await asyncio.sleep(file.pause)
            if partial != target:
                await client.posix_rename(partial, target)
    except asyncssh.SFTPError as error:
        msg = f"Invalid file path '{path}'. ({error.reason})"
        raise DeliveryError(msg) from None
    except (OSError, TimeoutError, asyncssh.Error):
        msg = f"Could not initialize SFTP subsystem on {server}"
        raise DeliveryError(msg) from None
    return target
