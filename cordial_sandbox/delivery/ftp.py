"""Deliver over FTP.

Source of the reasons: Cordial, "Global API error responses", STORAGE_CONNECTION_ERROR.
"""

from __future__ import annotations

import asyncio
import ftplib
import time
from collections.abc import Mapping
from typing import Any

from cordial_sandbox.delivery.errors import DeliveryError
from cordial_sandbox.delivery.file import FilePart
from cordial_sandbox.delivery.site import Site

_TIMEOUT = 15


async def deliver_ftp(destination: Mapping[str, Any], file: FilePart, site: Site) -> str:
    site.check(destination["server"])
    return await asyncio.to_thread(_deliver, destination, file)


def _deliver(destination: Mapping[str, Any], file: FilePart) -> str:
    server, port, path = destination["server"], int(destination.get("port") or 21), str(destination["path"])
    target = f"{path.rstrip('/')}/{file.name}"
    partial = f"{path.rstrip('/')}/{file.partial_name}"
    with ftplib.FTP(timeout=_TIMEOUT) as client:  # noqa: S321 - the request asks for FTP
        try:
            client.connect(server, port)
        except (OSError, EOFError, ftplib.Error):
            msg = f"Unable to open connection to {server} : {port}"
            raise DeliveryError(msg) from None
        try:
            client.login(destination["username"], destination["password"])
        except ftplib.error_perm:
            msg = "Login failed."
            raise DeliveryError(msg) from None
        try:
            client.voidcmd("TYPE I")
            with client.transfercmd(f"STOR {partial}") as data:
                for chunk in file.chunks():
                    data.sendall(chunk)
                    time.sleep(file.pause)
            client.voidresp()
            if partial != target:
                client.rename(partial, target)
        except (OSError, EOFError, ftplib.Error) as error:
            msg = f"Invalid file path '{path}'. ({error})"
            raise DeliveryError(msg) from None
    return target
