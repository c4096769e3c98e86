"""HTTPS Basic auth: the API key as user name, a blank password.

Source: Cordial, "RESTful API summary and usage".
"""

from __future__ import annotations

import base64
import binascii
import hmac


def is_authorized(header: str | None, api_key: str) -> bool:
    """Tell whether an ``Authorization`` header carries the API key and a blank password."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{api_key}:".encode())
