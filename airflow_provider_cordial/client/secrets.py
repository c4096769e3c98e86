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
    """Return a secret as it is, in JSON, in JSON within JSON, in a URL, in HTML, in a repr, and in base64."""
    as_json = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    as_html = {html.escape(secret), html.escape(secret, quote=False)}
    as_html |= {form.replace("&#x27;", "&#39;") for form in as_html}
    as_html |= {form.replace("&quot;", "&#34;") for form in as_html}
    encoded = secret.encode("utf-8", errors="surrogatepass")
    return {
        secret,
        *as_json,
        *(form.replace("/", r"\/") for form in as_json),
        *(json.dumps(form)[1:-1] for form in as_json),
        *as_html,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
        *(encode(encoded).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)),
    }


def _pattern(form: str) -> str:
    """Return a pattern of a form in which any white space may be folded or wrapped."""
    return r"\s+".join(map(re.escape, form.split())) if form.split() else re.escape(form)
