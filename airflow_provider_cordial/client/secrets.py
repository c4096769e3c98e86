"""Keep secrets out of texts: strike them out in every form in which an answer may repeat them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"

#: As in Airflow's own masking: striking out every "p" would hide the message and not the secret.
SHORTEST_SECRET = 5

#: How often JSON may be contained in JSON.
_JSON_DEPTH = 3

_SECRET_MEMBER = re.compile(r"password|secret|access_?key|authorization|api_?key|token", re.IGNORECASE)


def strike_out(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the secrets. Call it before the text is cut: half a secret would not be recognized."""
    forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
    if not forms:
        return text
    # The longest first: one form may contain another.
    pattern = "|".join(_pattern(form) for form in sorted(forms, key=len, reverse=True))
    return re.sub(pattern, MASK, text, flags=re.IGNORECASE)


def mask_members(value: Any) -> Any:
    """Return JSON with the text of every member masked whose name suggests a secret."""
    if isinstance(value, Mapping):
        return {
            str(key): MASK if isinstance(item, str) and _SECRET_MEMBER.search(str(key)) else mask_members(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [mask_members(item) for item in value]
    return value


def _forms(secret: str) -> set[str]:
    """Return a secret as it is, and as JSON, JSON within JSON, HTML, URLs, a repr, hexadecimal, and base64 write it."""
    as_json = [{secret}]
    for _ in range(_JSON_DEPTH):
        as_json.append({form for text in as_json[-1] for form in _in_json(text)})
    encoded = secret.encode("utf-8", errors="surrogatepass")
    # In base64 the bytes after the last whole group of three depend on what follows the secret.
    groups = (encoded, encoded[: len(encoded) // 3 * 3])
    return {
        *(form for forms in as_json for form in forms),
        *(form.replace("/", r"\/") for form in as_json[1]),
        *(form for forms in as_json for text in forms for form in _in_html(text)),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
        encoded.hex(),
        *(
            encode(some).decode().rstrip("=")
            for encode in (base64.b64encode, base64.urlsafe_b64encode)
            for some in groups
        ),
    }


def _in_json(text: str) -> set[str]:
    return {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}


def _in_html(text: str) -> set[str]:
    forms = {html.escape(text), html.escape(text, quote=False)}
    forms |= {form.replace("&#x27;", "&#39;") for form in forms}
    return forms | {form.replace("&quot;", "&#34;") for form in forms}


def _pattern(form: str) -> str:
    """Return a pattern of a form in which any white space may be folded or wrapped."""
    return r"\s+".join(map(re.escape, form.split())) if form.split() else re.escape(form)
