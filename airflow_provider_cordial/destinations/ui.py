"""UiDestination: Cordial's own Jobs page."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from airflow_provider_cordial.destinations.base import Address, Destination, Reader
from airflow_provider_cordial.exceptions import NoDownloadError


@dataclass(frozen=True, kw_only=True, slots=True)
class UiDestination(Destination):
    """Cordial's Jobs page, where a person downloads the file within 30 days.

    Source: Cordial, "Audience Trends export API".
    """

    type = "aws"

    def address(self) -> Address:
        return Address(body={"type": self.type}, uri="cordial:jobs-page")

    def reader(self, *, timeout: float) -> AbstractContextManager[Reader]:  # noqa: ARG002
        msg = (
            "Destination 'aws' cannot be read: Cordial has no API to download a file from its Jobs page. A person can "
            "download it there within 30 days. To load the file, export to another destination, SFTP for instance."
        )
        raise NoDownloadError(msg)
