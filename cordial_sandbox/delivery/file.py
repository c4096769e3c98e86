"""What is delivered."""

from __future__ import annotations

from dataclasses import dataclass

_PARTS = 10


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file on its way.

    :param job_id: of the job that made it.
    :param write_seconds: how long it takes to be written; if that is any time, it bears its name from the start.
    """

    name: str
    content: bytes
    job_id: str
    write_seconds: float = 0.0

    @property
    def unfinished(self) -> str:
        """The name it has until it is whole; its job's own, as two exports may have one name."""
        return self.name if self.write_seconds else f".{self.job_id}.part"

    def key_under(self, path: str) -> str:
        """Return its key in an object store, for a path that names a folder or a file.

        The article's table says "path to folder and file", its example and the Swagger document say folder.
        """
        return path if path.endswith(".csv") else f"{path}/{self.name}"

    def parts(self) -> list[bytes]:
        """Return the content in parts, each of which is followed by a ``pause``."""
        size = max(1, -(-len(self.content) // _PARTS))
        return [self.content[start : start + size] for start in range(0, len(self.content), size)]

    @property
    def pause(self) -> float:
        return self.write_seconds / _PARTS
