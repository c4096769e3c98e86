"""The members of a request: which attribute of an export is which of them, and what each may be.

A kind of export declares its members as fields of a dataclass, and everything else follows: the check before anything
is sent, the body, the JSON, and the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_cordial.exceptions import InvalidExportError

#: Checks a value, and returns it as the export keeps it.
Parser = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a request.

    :param name: as Cordial spells it.
    :param parse: receives the name of the parameter, for the error.
    :param is_unordered: whether the order of its values has no meaning.
    """

    name: str
    parse: Parser
    is_unordered: bool = False


def member(name: str, parse: Parser, *, is_unordered: bool = False) -> dict[str, Any]:
    """Return the metadata of a dataclass field that is a member of the request."""
    return {"member": Member(name, parse, is_unordered)}


def parse_text(name: str, value: Any) -> str:
    """Return a text that is not blank."""
    if isinstance(value, str) and value.strip():
        return value
    raise _invalid(name, value, "a text that is not blank")


def parse_delimiter(name: str, value: Any) -> str:
    """Return a text that may be blank: a tab for instance."""
    if isinstance(value, str) and value:
        return value
    raise _invalid(name, value, "a text, ',' for instance")


def parse_texts(name: str, value: Any) -> tuple[str, ...]:
    """Return a list of texts that are not blank."""
    return tuple(parse_text(f"value of {name}", one) for one in _parse_list(name, value))


def parse_texts_or_numbers(name: str, value: Any) -> tuple[str | int, ...]:
    """Return a list of texts or whole numbers: names or ids."""
    return tuple(
        one if isinstance(one, int) and not isinstance(one, bool) else parse_text(f"value of {name}", one)
        for one in _parse_list(name, value)
    )


def parse_columns(name: str, value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return a list of columns, each a mapping with a ``name`` and optionally a ``label``."""
    columns = _parse_list(name, value)
    for one in columns:
        if not isinstance(one, Mapping):
            raise _invalid(f"value of {name}", one, "a mapping with 'name' and optionally 'label'")
        parse_text(f"name in {name}", one.get("name"))
        if one.get("label") is not None and not isinstance(one["label"], str):
            raise _invalid(f"label in {name}", one["label"], "a text")
    return tuple(dict(one) for one in columns)


def parse_switch(name: str, value: Any) -> bool:
    """Return True or False."""
    if isinstance(value, bool):
        return value
    raise _invalid(name, value, "True or False")


def parse_count(name: str, value: Any) -> int:
    """Return a whole number of 0 or more."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise _invalid(name, value, "a whole number, 0 or more")


def parse_email(name: str, value: Any) -> str:
    """Return an email address.

    Source: the Swagger document, "The confirm email must be a valid email address."
    """
    user, _, host = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    if user and host and not any(letter.isspace() for letter in value):
        return str(value)
    raise _invalid(name, value, "an email address")


def parse_moment(name: str, value: Any) -> datetime:
    """Return a moment in UTC, from a datetime with a time zone or its ISO 8601 text."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, datetime) and moment.tzinfo:
        return moment.astimezone(UTC)
    raise _invalid(name, value, "a datetime with a time zone, or its ISO 8601 text")


def one_of(*choices: str) -> Parser:
    """Return the parser of a text that is one of the choices."""

    def parse(name: str, value: Any) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise _invalid(name, value, choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}")

    return parse


def to_json(value: Any) -> Any:
    """Return a parsed value as plain JSON, with moments as in Cordial's examples: ``2018-03-24T00:00:00.000Z``."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return list(value) if isinstance(value, tuple) else value


def _parse_list(name: str, value: Any) -> list[Any]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise _invalid(name, value, "a list, also for a single value")
    # A set has another order in each process.
    values = sorted(value, key=str) if isinstance(value, Set) else list(value)
    if not values:
        raise _invalid(name, value, "at least one value")
    return values


def _invalid(name: str, value: Any, expected: str) -> InvalidExportError:
    return InvalidExportError(f"Invalid {name} {value!r}: expected {expected}.")
