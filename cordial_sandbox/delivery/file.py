"""What is delivered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file on its way.

    :param job_id: of the job that made it.
    """

    name: str
    content: bytes
    job_id: str

    @property
    def unfinished(self) -> str:
        """The name it has until it is whole; its job's own, as two exports may have one name."""
        return f".{self.job_id}.part"
