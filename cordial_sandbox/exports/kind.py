"""What a kind of export is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from cordial_sandbox.accounts import Account
from cordial_sandbox.settings import Behaviour


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """A valid request.

    :param kind: path of the kind of export.
    :param request: the body without its name and destination, as JSON.
    :param destination: with its secrets.
    """

    kind: str
    name: str
    request: Mapping[str, Any]
    destination: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What the file of an export is made of.

    :param today: the day in the account's time zone, which has no snapshot yet.
    :param missing_days: days without a snapshot in this file.
    """

    account: Account
    behaviour: Behaviour
    today: date
    missing_days: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class Rendered:
    """The content of the file of an export, or of its parts.

    :param part_suffix: pattern that follows the name of each of several parts, as ``Behaviour.part_suffix``.
    :param ending: what is added to the name.
    """

    parts: tuple[bytes, ...]
    part_suffix: str
    ending: str = ""


@dataclass(frozen=True, slots=True)
class ExportKind:
    """A kind of export: one module, and one entry of the registry.

    :param path: of the operation, below ``/v2/``.
    :param config_status: status of a refusal of anything but the destination.
    :param name_pattern: pattern of the name, or None if Cordial documents no rule.
    :param parse: returns the request without its name and destination as JSON; raises ``ApiError``.
    :param render: returns the file's content.
    :param job_name: ``jobName`` of its jobs; None for the account's ``job_name``.
    :param requires_name: whether the name is required.
    :param default_type: ``exportType`` if the request has none; None if it is required.
    :param members: the members of the body besides those of every export.
    """

    path: str
    types: tuple[str, ...]
    parse: Callable[[Mapping[str, Any], Account], Mapping[str, Any]]
    render: Callable[[Mapping[str, Any], Content], Rendered]
    config_status: int = 400
    job_name: str | None = None
    requires_name: bool = True
    name_pattern: str | None = r"[A-Za-z0-9-]+"
    default_type: str | None = None
    members: frozenset[str] = field(default_factory=frozenset)
