"""Write local files to anything that ObjectStoragePath reaches, each completely or not at all."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

#: Of a path on this machine; a path without a scheme has the empty one.
_LOCAL_PROTOCOLS = ("", "file", "local")

#: Where a file is visible while it is written.
_FILE_PROTOCOLS = (*_LOCAL_PROTOCOLS, "sftp", "ssh")


def publish_file(local: Path, target: ObjectStoragePath) -> None:
    """Copy a file to its place, completely or not at all; a file that is there is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # An object appears when it is complete; a file would be visible while it grows.
    is_file = target.protocol in _FILE_PROTOCOLS
    unfinished = target.parent / f".{target.name}.part" if is_file else target
    with local.open("rb") as source, unfinished.open("wb") as sink:  # type: ignore[no-untyped-call]
        shutil.copyfileobj(source, sink, 1 << 20)
        if target.protocol in _LOCAL_PROTOCOLS:
            # Otherwise a crash of the machine can leave the name without its content.
            sink.flush()
            os.fsync(sink.fileno())
    if target.protocol in _LOCAL_PROTOCOLS:
        os.replace(unfinished.path, target.path)  # noqa: PTH105 - of the parsed paths
    elif is_file:
        unfinished.replace(target)


def without_connection(path: str) -> str:
    """Return a URL without the Airflow connection before the @, which is not part of the place."""
    return re.sub(r"//[^/@]*@", "//", path)
