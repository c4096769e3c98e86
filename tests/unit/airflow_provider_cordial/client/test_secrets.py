"""Secrets are struck out in every form, before a text is cut."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.secrets import mask_members, strike_out
from airflow_provider_cordial.exceptions import CordialError

SECRET = "p\"ä/ss <w>&'ö  rd+1%"

FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "json": lambda secret: json.dumps({"password": secret}),
    "json, not ascii": lambda secret: json.dumps({"x": secret}, ensure_ascii=False),
    "json in json": lambda secret: json.dumps(json.dumps({"x": secret})),
    "json in json, not ascii": lambda secret: json.dumps(json.dumps(secret, ensure_ascii=False), ensure_ascii=False),
    "json three times": lambda secret: json.dumps(json.dumps(json.dumps({"x": secret}))),
    "json in html": lambda secret: html.escape(json.dumps({"x": secret})),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "json with escaped slashes": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "url": lambda secret: quote(secret, safe=""),
    "url path": quote,
    "form": quote_plus,
    "url in lower case": lambda secret: quote(secret, safe="").lower(),
    "html": html.escape,
    "html, decimal": lambda secret: html.escape(secret).replace("&#x27;", "&#39;"),
    "folded": lambda secret: " ".join(secret.split()),
    "wrapped": lambda secret: "\n    ".join(secret.split()),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "repr": repr,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [SECRET, "hunter2-secret", "K3Y/1+x=="])
def test_a_secret_is_struck_out_in_every_form(form: str, secret: str) -> None:
    text = f"before {FORMS[form](secret)} after"
    found = strike_out(text, [secret, "other-secret"])
    assert found.startswith("before ")
    assert found.endswith(" after")
    assert "***" in found
    for known in FORMS.values():
        assert known(secret) not in found


def test_a_short_text_is_not_struck_out() -> None:
    assert strike_out("a plain message", ["p", "", "in"]) == "a plain message"


@given(st.integers(1, 400), st.sampled_from(sorted(FORMS)))
def test_a_secret_across_the_cut_is_struck_out(position: int, form: str) -> None:
    body = b"x" * position + FORMS[form](SECRET).encode()
    request = api.get_job("j1").with_secrets([SECRET])
    for status in (200, 400, 500):
        with pytest.raises(CordialError) as raised:
            api.interpret(request, api.Answer(status, {}, body))
        rest = str(raised.value).replace("x", "")
        inner = [SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), html.escape(SECRET)]
        assert not any(known[:6] in rest for known in inner)
        assert base64.b64encode(SECRET.encode()).decode()[:8] not in rest


def test_members_are_masked_at_any_depth() -> None:
    masked = mask_members({"data": [{"apiKey": "k", "path": "p", "deep": {"aws_secret_access_key": "s"}}]})
    assert masked == {"data": [{"apiKey": "***", "path": "p", "deep": {"aws_secret_access_key": "***"}}]}
