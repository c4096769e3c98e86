"""Errors in a log view that does not wrap: first what failed and why, then what to do."""

from __future__ import annotations

import pytest

from airflow_provider_cordial.exceptions import CordialError, error_from_json


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ("The file is empty.", ["The file is empty."]),
        ("It failed. Retry it. Or not.", ["It failed.", "Retry it.", "Or not."]),
        ("Version 1.5 of api.cordial.io ends. Retry it.", ["Version 1.5 of api.cordial.io ends.", "Retry it."]),
        ("It starts with 'a', ... Check it.", ["It starts with 'a', ... Check it."]),
        (f"Table 't' failed: {'x' * 120}. Retry it.", ["Table 't' failed:", f"{'x' * 120}.", "Retry it."]),
        ("x" * 130 + ": y.", ["x" * 130 + ": y."]),
    ],
)
def test_an_error_has_a_line_per_sentence(message: str, lines: list[str]) -> None:
    error = CordialError(message)
    assert str(error).splitlines() == lines
    # In a log line and in an event it stays one line.
    assert error.message == message
    assert str(error_from_json(error.to_json())) == str(error)
