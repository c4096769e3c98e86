"""Where Cordial delivers a file, and how to read it there: one module per destination."""

from __future__ import annotations

from airflow_provider_cordial.destinations.azure_blob import AzureBlobDestination
from airflow_provider_cordial.destinations.base import (
    Address,
    DeliveredFile,
    Destination,
    Reader,
    destination_from_json,
)
from airflow_provider_cordial.destinations.file_wait import FileWait
from airflow_provider_cordial.destinations.finder import (
    download_delivered_files,
    open_delivered_file,
    read_delivered_file,
)
from airflow_provider_cordial.destinations.ftp import FtpDestination
from airflow_provider_cordial.destinations.gcs import GcsDestination
from airflow_provider_cordial.destinations.s3 import S3Destination
from airflow_provider_cordial.destinations.sftp import SftpDestination
from airflow_provider_cordial.destinations.ui import UiDestination

__all__ = [
    "Address",
    "AzureBlobDestination",
    "DeliveredFile",
    "Destination",
    "FileWait",
    "FtpDestination",
    "GcsDestination",
    "Reader",
    "S3Destination",
    "SftpDestination",
    "UiDestination",
    "destination_from_json",
    "download_delivered_files",
    "open_delivered_file",
    "read_delivered_file",
]
