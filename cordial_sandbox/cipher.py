"""Encrypt the secrets of destinations, so that a copy of the database reveals none of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from cordial_sandbox.private_file import write_private_file


@dataclass(frozen=True, slots=True)
class Cipher:
    """Encrypts and decrypts secrets with the key of a data folder."""

    fernet: Fernet

    def encrypt(self, secrets: Mapping[str, str]) -> str | None:
        """Return the encrypted secrets; None without secrets."""
        return self.fernet.encrypt(json.dumps(secrets).encode()).decode() if secrets else None

    def decrypt(self, token: str | None) -> dict[str, str]:
        """Return the secrets.

        :raises cryptography.fernet.InvalidToken: they were encrypted with another key.
        """
        return {} if token is None else dict(json.loads(self.fernet.decrypt(token)))


def read_cipher(path: Path) -> Cipher:
    """Return the cipher of a key file, which is created if it does not exist and is never incomplete.

    :raises RuntimeError: the file does not contain a key.
    """
    if not path.exists():
        write_private_file(path, Fernet.generate_key())
    try:
        return Cipher(Fernet(path.read_bytes()))
    except ValueError:
        msg = (
            f"Invalid key in {path}: expected 32 bytes in URL-safe Base64. Restore the file, or delete it; "
            "then jobs whose destination has secrets fail."
        )
        raise RuntimeError(msg) from None
