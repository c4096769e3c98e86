"""The file to deliver, which may be in parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cordial_sandbox.exports.kind import Rendered

_CHUNKS = 10

#: Where the suffix of a part is inserted.
_ENDING = re.compile(r"(?:\.(?:csv|json|txt))?(?:\.gz)?\Z")


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """The file of a job.

    :param job_id: id of the job that created it.
    :param write_seconds: how long writing takes; if not 0, the file has its final name from the start.
    """

    name: str
    content: Rendered
    job_id: str
    write_seconds: float = 0.0

    def parts(self) -> Sequence[FilePart]:
        """Return the files to write: one, or the numbered parts."""
        contents, pattern = self.content.parts, self.content.part_suffix
        name, total = f"{self.name}{self.content.ending}", len(contents)
        return [
            FilePart(name, part, self.job_id, self.write_seconds, pattern.format(number=number, total=total))
            if total > 1
            else FilePart(name, part, self.job_id, self.write_seconds)
            for number, part in enumerate(contents, 1)
        ]


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file to write.

    :param whole_name: its name without the suffix.
    :param suffix: distinguishes the parts of a file; empty if there is only one.
    """

    whole_name: str
    content: bytes
    job_id: str
    write_seconds: float = 0.0
    suffix: str = ""

    @property
    def name(self) -> str:
        return self._add_suffix(self.whole_name)

    @property
    def partial_name(self) -> str:
        """The name while the file is written; unique to the job, as two exports may share a name."""
        return self.name if self.write_seconds else f".{self.job_id}.part"

    def key_under(self, path: str) -> str:
        """Return the key in an object store for a path, which is a folder or a file.

        The article's table describes the path as "path to folder and file", its example and the Swagger document as a
        folder.
        """
        return self._add_suffix(path) if path.endswith(".csv") else f"{path}/{self.name}"

    def _add_suffix(self, name: str) -> str:
        return _ENDING.sub(lambda ending: f"{self.suffix}{ending[0]}", name, count=1)

    def chunks(self) -> list[bytes]:
        """Return the content in chunks; the writer sleeps for ``pause`` after each."""
        size = max(1, -(-len(self.content) // _CHUNKS))
        return [self.content[start : start + size] for start in range(0, len(self.content), size)]

    @property
    def pause(self) -> float:
        """Seconds to sleep after each chunk."""
        return self.write_seconds / _CHUNKS
