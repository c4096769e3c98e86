"""Files that only their owner may read."""

from __future__ import annotations

from pathlib import Path


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file with mode 0600, and its folder if need be; the file is never incomplete."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.touch(mode=0o600)
    partial.write_bytes(content)
    partial.replace(path)
