"""The account's Secrets Vault: named key pairs whose private keys never leave the sandbox's folder.

Source: Cordial, "SFTP public key authentication".
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from cordial_sandbox.private_file import write_private_file


@dataclass(frozen=True, slots=True)
class Vault:
    """The key pairs stored in a data folder."""

    data: Path

    def create(self, name: str) -> str:
        """Create a key pair unless one of that name exists, and return its public key.

        :raises ValueError: the name is invalid.
        """
        if not _is_valid(name):
            msg = f"Invalid key pair name {name!r}: it may only contain letters, numbers, dashes, and underscores."
            raise ValueError(msg)
        path = self._path(name)
        create_private_key(path)
        return asyncssh.read_private_key(path).export_public_key().decode().strip()

    def private_key(self, name: str) -> Path | None:
        """Return the file of a private key, or None if no key pair has that name."""
        path = self._path(name)
        return path if _is_valid(name) and path.exists() else None

    def has_key(self, name: str) -> bool:
        return self.private_key(name) is not None

    def contains(self, public_key: asyncssh.SSHKey) -> bool:
        """Return whether a public key belongs to one of the key pairs."""
        pairs = (self.data / "vault").glob("*.key")
        return any(asyncssh.read_private_key(path).public_data == public_key.public_data for path in pairs)

    def clear(self) -> None:
        shutil.rmtree(self.data / "vault", ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.data / "vault" / f"{name}.key"


def create_private_key(path: Path) -> None:
    """Create a private key file, readable by its owner only, unless it exists; the file is never incomplete."""
    if not path.exists():
        write_private_file(path, asyncssh.generate_private_key("ssh-ed25519").export_private_key())


def _is_valid(name: str) -> bool:
    return re.fullmatch(r"[\w-]+", name) is not None
