"""What is known of a parameter before Airflow renders it."""

from __future__ import annotations

from typing import Any


def is_template(text: str) -> bool:
    """Tell whether Jinja would change a text."""
    return "{{" in text or "{%" in text


def known_at_parse_time(*texts: Any) -> bool:
    """Tell whether all of these are texts, and none is a template."""
    return all(isinstance(text, str) and not is_template(text) for text in texts)
