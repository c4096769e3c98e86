"""The Airflow connection, and the form that describes it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.sdk import Connection

from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.exceptions import InvalidConnectionError
from airflow_provider_cordial.get_provider_info import CONNECTION_FIELDS, get_provider_info
from airflow_provider_cordial.hooks.cordial import CordialHook


def read(**fields: Any) -> CordialConnection:
    fields = {"conn_id": "c", "conn_type": "cordial", "password": "KEY-123456", **fields}
    return CordialConnection.from_airflow(Connection(**fields))


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://api.cordial.io"),
        ({"host": "api.usw2.cordial.io"}, "https://api.usw2.cordial.io"),
        ({"host": "https://api.usw2.cordial.io/v2/"}, "https://api.usw2.cordial.io"),
        ({"host": " https://api.cordial.io/ "}, "https://api.cordial.io"),
        ({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080"),
        ({"host": "http://localhost", "port": 9}, "http://localhost:9"),
        ({"host": "http://[::1]:80"}, "http://[::1]"),
        ({"port": 443}, "https://api.cordial.io"),
        ({"host": "https://api.cordial.io:8443"}, "https://api.cordial.io:8443"),
    ],
)
def test_the_address(fields: dict[str, Any], url: str) -> None:
    assert read(**fields).base_url == url


def test_the_defaults_are_those_of_the_form() -> None:
    connection = read()
    for field in CONNECTION_FIELDS:
        if field.default is None:
            continue
        expected = field.default if field.json_type == "string" else float(field.default)
        found = getattr(connection, field.name)
        assert (str(found) if field.json_type == "string" else found) == expected


def test_extra_values_may_be_text_as_in_a_form() -> None:
    extra = json.dumps({"timezone": "Europe/Berlin", "read_timeout": "2.5", "attempts": "3", "max_wait": None})
    connection = read(extra=extra)
    assert (str(connection.timezone), connection.read_timeout, connection.attempts) == ("Europe/Berlin", 2.5, 3)
    assert connection.max_wait == 120


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"password": None}, "has no API key: paste the raw Cordial API key into the password field."),
        ({"password": None, "login": "KEY-123456"}, "Move it from the login field."),
        (
            {"host": "http://api.cordial.io"},
            "Invalid host 'http://api.cordial.io' of",
        ),
        ({"host": "http://10.0.0.1"}, "expected https"),
        ({"host": "http://10.0.0.1", "extra": '{"allow_http": "false"}'}, "expected https"),
        ({"host": "http://api.cordial.io", "extra": '{"allow_http": true}'}, "expected https"),
        ({"host": "http://usw2.cordial.io", "extra": '{"allow_http": true}'}, "expected https"),
        ({"host": "http://localhost.example.com"}, "expected https"),
        ({"host": "ftp://api.cordial.io"}, "expected https://api.cordial.io or https://api.usw2.cordial.io"),
        ({"host": "https://"}, "expected https://api.cordial.io or https://api.usw2.cordial.io"),
        ({"host": "https://api.cordial.io:port"}, "expected https://api.cordial.io or https://api.usw2.cordial.io"),
        ({"host": "https://api.cordial.io/v1/jobs"}, "expected a scheme and a host, without a path"),
        ({"host": "https://KEY-123456@api.cordial.io"}, "Invalid host 'api.cordial.io' of"),
        (
            {"extra": '{"timezone": "Pacific"}'},
            "Invalid timezone 'Pacific' in the extra",
        ),
        ({"extra": '{"timezone": "../../etc/passwd"}'}, "expected an IANA name"),
        (
            {"extra": '{"read_timeout": "long"}'},
            "Invalid read_timeout 'long' in the extra",
        ),
        ({"extra": '{"attempts": 0}'}, "expected a number above 0"),
        ({"extra": '{"max_wait": "inf"}'}, "Invalid max_wait 'inf' in the extra"),
        ({"extra": '["KEY-123456"]'}, "Invalid extra of Airflow connection 'c': expected a JSON object"),
    ],
)
def test_invalid_fields_are_rejected_without_showing_the_key(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidConnectionError) as rejected:
        read(**fields)
    assert "Airflow connection 'c'" in str(rejected.value)
    assert text in str(rejected.value)
    assert "KEY-123456" not in str(rejected.value)


@pytest.mark.parametrize("allowed", ["true", '"true"'])
def test_http_to_another_machine_can_be_allowed(allowed: str) -> None:
    connection = read(host="http://cordial", port=8080, extra=f'{{"allow_http": {allowed}}}')
    assert connection.base_url == "http://cordial:8080"


def test_the_key_is_not_in_the_repr() -> None:
    assert "KEY-123456" not in repr(read())


def test_the_metadata_matches_airflows_schema() -> None:
    info = get_provider_info()
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)
    modules = [
        module for part in ("hooks", "operators", "sensors", "triggers") for module in info[part][0]["python-modules"]
    ]
    for module in [*modules, *(transfer["python-module"] for transfer in info["transfers"])]:
        __import__(module)
    assert info["connection-types"][0]["hook-class-name"] == f"{CordialHook.__module__}.{CordialHook.__name__}"
    assert info["connection-types"][0]["connection-type"] == CordialHook.conn_type


def test_discovery_imports_no_other_package() -> None:
    (found,) = [point for point in entry_points(group="apache_airflow_provider") if "cordial" in point.value]
    assert found.load()() == get_provider_info()
    code = (
        "import sys; before = set(sys.modules); import airflow_provider_cordial.get_provider_info; "
        "print(sorted(name for name in set(sys.modules) - before "
        "if name.partition('.')[0] not in sys.stdlib_module_names))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['airflow_provider_cordial', 'airflow_provider_cordial.get_provider_info']"


def test_the_form_is_the_same_for_older_versions() -> None:
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    widgets = CordialHook.get_connection_form_widgets()
    assert set(widgets) == set(fields) == {field.name for field in CONNECTION_FIELDS}
    behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
    older = CordialHook.get_ui_field_behaviour()
    assert {name.replace("_", "-"): value for name, value in older.items()} == behaviour
    assert behaviour["relabeling"]["password"] == "API key"


@pytest.mark.parametrize(
    ("host", "extra", "url"),
    [
        ("https://api.cordial.io", {}, "https://admin.cordial.io"),
        ("api.usw2.cordial.io", {}, "https://usw2.admin.cordial.io"),
        ("http://127.0.0.1:8080", {}, "http://127.0.0.1:8080/jobs/j%2F1"),
        ("api.cordial.io", {"jobs_page": "https://jobs.example/{job_id}"}, "https://jobs.example/j%2F1"),
    ],
)
def test_the_page_of_a_job(host: str, extra: dict[str, str], url: str) -> None:
    assert read(host=host, extra=json.dumps(extra)).job_url("j/1") == url


def test_a_jobs_page_without_a_scheme_is_rejected() -> None:
    with pytest.raises(InvalidConnectionError, match="Invalid jobs_page 'javascript:alert"):
        read(extra=json.dumps({"jobs_page": "javascript:alert(1)"}))


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("Bearer abc", "begins with 'Bearer'"),
        ("basic YWJjOg==", "begins with 'basic'"),
        ("Authorization: Basic YWJjOg==", "begins with 'Authorization:'"),
        ("abc:", "ends with a colon"),
        ("YWJjZGVmOg==", "encoded in base64"),
    ],
)
def test_a_key_as_a_client_sends_it_is_rejected_at_once(password: str, problem: str) -> None:
    with pytest.raises(InvalidConnectionError, match=problem) as rejected:
        read(password=password)
    assert "Paste the raw Cordial API key" in rejected.value.message
    assert password not in rejected.value.message


@pytest.mark.parametrize("password", [" 5d1c-key \n", "YWJjZGVm", "a:b", "bearer"])
def test_other_keys_are_accepted(password: str) -> None:
    assert read(password=password).api_key == password.strip()


def test_the_form_stores_no_defaults() -> None:
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    assert not any("default" in field["schema"] for field in fields.values())
    assert "(default: 60)" in fields["read_timeout"]["description"]
    # A field that Airflow 3.3 hides is sent as an empty text by Test, which it then rejects for a number.
    assert "port" not in get_provider_info()["connection-types"][0]["ui-field-behaviour"]["hidden-fields"]
