"""The account's Secrets Vault: named key pairs, whose private halves never leave the sandbox's folder.

Source: Cordial, "SFTP public key authentication".
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True, slots=True)
class Vault:
    """The key pairs that are kept in a data folder."""

    data: Path

    def create(self, name: str) -> str:
        """Make a key pair, if there is none of that name, and return its public key, for the server to let in.

        :raises ValueError: the name is none.
        """
        if not re.fullmatch(r"[\w-]+", name):
            msg = f"name {name!r} of a key pair may only contain letters, numbers, dashes and underscores"
            raise ValueError(msg)
        path = self._path(name)
        make_private_key(path)
        return asyncssh.read_private_key(path).export_public_key().decode().strip()

    def private_key(self, name: str) -> Path | None:
        """Return the file of a private key, or None if there is none of that name."""
        path = self._path(name)
        return path if re.fullmatch(r"[\w-]+", name) and path.exists() else None

    def holds(self, public_key: asyncssh.SSHKey) -> bool:
        """Tell whether a public key is of one of the pairs."""
        pairs = (self.data / "vault").glob("*.key")
        return any(asyncssh.read_private_key(path).public_data == public_key.public_data for path in pairs)

    def empty(self) -> None:
        shutil.rmtree(self.data / "vault", ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.data / "vault" / f"{name}.key"


def make_private_key(path: Path) -> None:
    """Make a private key that only its owner may read, if there is none; a file that is there is whole."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.touch(mode=0o600)
    unfinished.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    unfinished.replace(path)
