"""The search for secrets finds each form where it is planted, and nothing where nothing is."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest

from tests.faults.plan import API_KEY, SFTP_PASSWORD
from tests.faults.secret_forms import FORMS, Finding, find_secrets, forms_of

SECRETS = {"API key": API_KEY, "SFTP password": SFTP_PASSWORD}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", SECRETS)
def test_each_planted_form_is_found(secret: str, form: str) -> None:
    text = f'{{"message": "POST failed: <b>{forms_of(SECRETS[secret])[form]}</b>, retrying"}}\n'
    findings = list(find_secrets([("clean", "no secret here"), ("log", text)], SECRETS))
    assert Finding(secret, form, "log") in findings
    assert {one.place for one in findings} == {"log"}
    assert {one.secret for one in findings} == {secret}


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_found_in_a_log_that_escapes_and_folds_it(form: str, levels: int) -> None:
    text = " ".join(f"Cordial answered 500: {forms_of(API_KEY)[form]}.".split())
    for _ in range(levels):
        text = json.dumps({"event": text}, ensure_ascii=False)
    assert Finding("API key", form, "log") in set(find_secrets([("log", text)], SECRETS))


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_the_forms_of_the_secrets_differ(secret: str) -> None:
    forms = forms_of(secret)
    assert len(set(forms.values())) == len(FORMS)
    # A search for one form could not find most of the others.
    assert sum(secret in form for form in forms.values()) == 1


def test_the_forms_are_those_that_libraries_write() -> None:
    key = API_KEY
    assert forms_of(key)["JSON in JSON"] in json.dumps(json.dumps({"key": key}, ensure_ascii=False), ensure_ascii=False)
    assert forms_of(key)["URL form"] in urllib.parse.urlencode({"key": key})
    assert base64.b64encode(f"{key}:".encode()).decode().startswith(forms_of(key)["Basic auth"])
    assert forms_of(key)["repr"] in repr({"key": key})


def test_wrapped_secrets_and_secrets_in_capitals_are_found() -> None:
    wrapped = "\n    ".join(SFTP_PASSWORD.split(" "))
    assert "raw" in {one.form for one in find_secrets([("log", wrapped)], SECRETS)}
    capitals = forms_of(API_KEY)["hexadecimal"].upper()
    assert {one.form for one in find_secrets([("log", capitals)], SECRETS)} == {"hexadecimal"}


def test_text_without_a_secret_has_no_findings() -> None:
    text = "Job 1 is Done. Authorization: Basic ***, password=***, the words of the test"
    assert list(find_secrets([("log", text)], SECRETS)) == []
