"""Where Cordial delivers a file, and how to read it there: one module a destination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_cordial.destinations.azure_blob import AzureBlobDestination
from airflow_provider_cordial.destinations.base import Destination
from airflow_provider_cordial.destinations.ftp import FtpDestination
from airflow_provider_cordial.destinations.gcs import GcsDestination
from airflow_provider_cordial.destinations.s3 import S3Destination
from airflow_provider_cordial.destinations.sftp import SftpDestination
from airflow_provider_cordial.destinations.ui import UiDestination
from airflow_provider_cordial.exceptions import InvalidExportError

__all__ = [
    "AzureBlobDestination",
    "Destination",
    "FtpDestination",
    "GcsDestination",
    "S3Destination",
    "SftpDestination",
    "UiDestination",
    "destination_from_json",
]

_BY_TYPE: dict[str, type[Destination]] = {
    cls.type: cls
    for cls in (
        AzureBlobDestination,
        FtpDestination,
        GcsDestination,
        S3Destination,
        SftpDestination,
        UiDestination,
    )
}


def destination_from_json(record: Mapping[str, Any]) -> Destination:
    """Return the destination that ``Destination.to_json`` made a record of.

    :raises InvalidExportError: the type is unknown, or a member is.
    """
    fields = dict(record)
    destination_class = _BY_TYPE.get(str(fields.pop("type", None)))
    try:
        if destination_class is not None:
            return destination_class(**fields)
    except TypeError:
        pass
    msg = f"destination {record!r} is not understood. SubmissionState types: {', '.join(_BY_TYPE)}."
    raise InvalidExportError(msg)
