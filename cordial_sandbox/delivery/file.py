"""The file to deliver."""

from __future__ import annotations

from dataclasses import dataclass

_PARTS = 10


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file to deliver.

    :param job_id: id of the job that created it.
    :param write_seconds: how long writing takes; if not 0, the file has its final name from the start.
    """

    name: str
    content: bytes
    job_id: str
    write_seconds: float = 0.0

    @property
    def partial_name(self) -> str:
        """The name while the file is written; unique to the job, as two exports may share a name."""
        return self.name if self.write_seconds else f".{self.job_id}.part"

    def key_under(self, path: str) -> str:
        """Return the key in an object store for a path, which is a folder or a file.

        The article's table describes the path as "path to folder and file", its example and the Swagger document as a
        folder.
        """
        return path if path.endswith(".csv") else f"{path}/{self.name}"

    def parts(self) -> list[bytes]:
        """Return the content in parts; the writer sleeps for ``pause`` after each."""
        size = max(1, -(-len(self.content) // _PARTS))
        return [self.content[start : start + size] for start in range(0, len(self.content), size)]

    @property
    def pause(self) -> float:
        """Seconds to sleep after each part."""
        return self.write_seconds / _PARTS
