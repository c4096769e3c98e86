"""The delivered files that the pages may show: those inside one folder, whatever a path or a link says."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

SHOWN_ROWS = 20
SHOWN_COLUMNS = 60

#: Enough for the rows and columns that are shown, and little to read for each view of a page.
_SHOWN_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a CSV.

    :param is_whole: whether the file has nothing else.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_whole: bool


def find_file(root: Path, location: str, *, below: str = "") -> Path | None:
    """Return the regular file at a location inside a folder, or None.

    :param location: path relative to ``root``, in which ``..`` ends at the root, as on an SFTP server.
    :param below: the folder in ``root`` that the file must be in.
    """
    folder = (root / below).resolve()
    try:
        path = (root / posixpath.normpath(f"/{location}").lstrip("/")).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a loop of links, a null byte, a name that is too long
        return None


def read_preview(path: Path) -> Preview | None:
    """Return the first rows of a CSV, or None if it cannot be read as one."""
    try:
        with path.open("rb") as file:
            content = file.read(_SHOWN_BYTES + 1)
        text = content[:_SHOWN_BYTES].decode("utf-8-sig", errors="replace")
        lines = list(islice(csv.reader(io.StringIO(text, newline="")), SHOWN_ROWS + 2))
    except (OSError, csv.Error):
        return None
    if not lines:
        return Preview((), (), is_whole=True)
    is_whole = len(content) <= _SHOWN_BYTES and len(lines) <= SHOWN_ROWS + 1
    is_whole = is_whole and all(len(line) <= SHOWN_COLUMNS for line in lines)
    header, *rows = (line[:SHOWN_COLUMNS] for line in lines[: SHOWN_ROWS + 1])
    return Preview(header, rows, is_whole)
