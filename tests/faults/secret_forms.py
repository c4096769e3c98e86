"""The forms in which a secret may be written, and a search for all of them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

#: Characters of a secret that was cut off; fewer could be found by chance.
SHORTEST_HALF = 12


def _in_json(secret: str, *, ascii_only: bool = False) -> str:
    return json.dumps(secret, ensure_ascii=ascii_only)[1:-1]


def _base64(text: str) -> str:
    # Padding differs with what follows the secret.
    return base64.b64encode(text.encode()).decode().rstrip("=")


def _first_half(secret: str) -> str:
    half = secret[: len(secret) // 2]
    return half if len(half) >= SHORTEST_HALF else secret


#: How each form is written.
FORMS: dict[str, Callable[[str], str]] = {
    "raw": lambda secret: secret,
    "JSON": _in_json,
    "JSON, ASCII only": lambda secret: _in_json(secret, ascii_only=True),
    "JSON in JSON": lambda secret: _in_json(_in_json(secret)),
    "URL": lambda secret: quote(secret, safe=""),
    "URL form": quote_plus,
    "HTML": html.escape,
    "JSON in HTML": lambda secret: html.escape(_in_json(secret)),
    "base64": _base64,
    "Basic auth": lambda secret: _base64(f"{secret}:"),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "repr": lambda secret: repr(secret)[1:-1],
    "white space folded": lambda secret: " ".join(secret.split()),
    "first half": _first_half,
}


def forms_of(secret: str) -> dict[str, str]:
    """Return each form of a secret by its name."""
    return {name: write(secret) for name, write in FORMS.items()}


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret that was found. It does not repeat the secret.

    :param secret: its name.
    :param form: the name of the form.
    :param place: where it was found.
    """

    secret: str
    form: str
    place: str


def find_secrets(texts: Iterable[tuple[str, str]], secrets: Mapping[str, str]) -> Iterator[Finding]:
    """Search texts for every form of every secret: in any case, with white space folded, and escaped repeatedly.

    A log in JSON escapes once more what an error message has quoted already.

    :param texts: a place and its text each.
    :param secrets: each secret by its name.
    """
    forms = [
        (name, form, text.casefold(), _normalize(text))
        for name, secret in secrets.items()
        for form, text in forms_of(secret).items()
    ]
    for place, text in texts:
        plain, normal = text.casefold(), _normalize(text)
        for name, form, sought, normal_sought in forms:
            if sought in plain or normal_sought in normal:
                yield Finding(name, form, place)


def _normalize(text: str) -> str:
    """Return a text in lower case, with white space folded, escaped or not, and without backslashes."""
    return re.sub(r"\\+", "", re.sub(r"(?:\\+[nrt]|\s)+", " ", text.casefold()))
