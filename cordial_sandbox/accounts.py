"""Accounts: their API keys, time zone, and audiences, from a seed file or built in."""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cordial_sandbox.operations import OPERATIONS
from cordial_sandbox.settings import DEFAULT_API_KEY

#: Source: Cordial, "Audience Trends analytics": snapshots are taken at midnight in this zone.
DEFAULT_TIMEZONE = "America/Los_Angeles"
DEFAULT_ACCOUNT = "default"


def _check_operation(name: str) -> str:
    if name not in OPERATIONS:
        msg = f"unknown operation {name!r}: expected one of {', '.join(OPERATIONS)}"
        raise ValueError(msg)
    return name


def _check_network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


def _check_timezone(name: str) -> str:
    if name not in available_timezones():
        msg = f"unknown time zone {name!r}: expected a name such as {DEFAULT_TIMEZONE}"
        raise ValueError(msg)
    return name


_Timezone = Annotated[str, AfterValidator(_check_timezone)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ApiKey(_Model):
    """An API key.

    :param operations: the operations that it may call; all by default.
    :param addresses: the client addresses, single or CIDR, that may use it; all by default.
    """

    # A colon would end the user name of HTTP Basic authentication. Anything else may be in a key.
    key: str = Field(pattern=r"^[^:\x00-\x1f\x7f]+$")
    operations: tuple[Annotated[str, AfterValidator(_check_operation)], ...] | None = None
    addresses: tuple[Annotated[str, AfterValidator(_check_network)], ...] | None = None

    def permits_operation(self, operation: str | None) -> bool:
        return self.operations is None or operation is None or operation in self.operations

    def permits_address(self, address: str) -> bool:
        if self.addresses is None:
            return True
        client = ipaddress.ip_address(address)
        return any(client in ipaddress.ip_network(network, strict=False) for network in self.addresses)


_Size = Annotated[int, Field(ge=0)]


class Audience(_Model):
    """A saved audience.

    :param analytics: whether Audience Trend analytics is enabled.
    :param since: day of its first snapshot.
    :param complete: whether the generated history has a snapshot for every day.
    :param seed: varies the generated history.
    :param sizes: contacts by day, instead of a generated history; other days have no snapshot. A number is the size on
        every day.
    """

    name: str = Field(min_length=1)
    audience_id: str = Field("", alias="id")
    analytics: bool = True
    since: date = date(2020, 1, 1)
    complete: bool = False
    seed: int | None = None
    sizes: _Size | Mapping[date, _Size | None] | None = None

    @property
    def id(self) -> str:
        return self.audience_id or sha256(self.name.encode()).hexdigest()[:24]


BUILT_IN_AUDIENCES = (
    Audience(name="opened_last_30_days", complete=True),
    Audience(name="clicked_last_30_days"),
    Audience(name="purchased_last_30_days", complete=True),
    Audience(name="new_subscribers"),
    Audience(name="lapsed_customers"),
    Audience(name='Käufer, "Gold"'),
    Audience(name="recently_tracked", since=date(2026, 1, 1)),
    Audience(name="vip", analytics=False),
    Audience(name="staff", analytics=False),
)


def _check_unique_audiences(audiences: tuple[Audience, ...]) -> tuple[Audience, ...]:
    _require_unique("audience", [audience.name for audience in audiences])
    _require_unique("audience id", [audience.id for audience in audiences])
    return audiences


_Audiences = Annotated[tuple[Audience, ...], AfterValidator(_check_unique_audiences)]


class AccountChange(_Model):
    """A change of an account while the sandbox runs.

    :param timezone: the new time zone; unchanged by default.
    :param audiences: all audiences from now on; unchanged by default.
    """

    timezone: _Timezone | None = None
    audiences: _Audiences | None = None

    def merge(self, later: AccountChange) -> AccountChange:
        """Return this change and a later one as one change."""
        return AccountChange(
            timezone=self.timezone if later.timezone is None else later.timezone,
            audiences=self.audiences if later.audiences is None else later.audiences,
        )


class Account(_Model):
    """An account; its keys see only its own jobs."""

    name: str = Field(pattern=r"^[\w-]+$")
    keys: tuple[ApiKey, ...] = Field(min_length=1)
    timezone: _Timezone = DEFAULT_TIMEZONE
    audiences: _Audiences = BUILT_IN_AUDIENCES

    def apply(self, change: AccountChange) -> Account:
        """Return the changed account."""
        # Not model_copy, which would keep the cached audiences_by_name.
        return Account(
            name=self.name,
            keys=self.keys,
            timezone=self.timezone if change.timezone is None else change.timezone,
            audiences=self.audiences if change.audiences is None else change.audiences,
        )

    @cached_property
    def audiences_by_name(self) -> Mapping[str, Audience]:
        return {audience.name: audience for audience in self.audiences}

    def find_audience_by_id(self, audience_id: str) -> Audience | None:
        return next((audience for audience in self.audiences if audience.id == audience_id), None)

    def today(self, now: float) -> date:
        """Return the day in the account's time zone at a timestamp."""
        return datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(self.timezone)).date()


class Seed(_Model):
    """The content of a seed file."""

    accounts: tuple[Account, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_unique(self) -> Self:
        _require_unique("account", [account.name for account in self.accounts])
        keys = [key.key for account in self.accounts for key in account.keys]
        if len(keys) != len(set(keys)):
            msg = "an API key is listed twice; every key belongs to one account"
            raise ValueError(msg)
        return self


def default_accounts(api_key: str) -> Sequence[Account]:
    """Return the one account of a sandbox without a seed file.

    :raises ValueError: the key cannot be sent as a user name.
    """
    return [Account(name=DEFAULT_ACCOUNT, keys=(ApiKey(key=api_key),))]


def read_seed(path: Path, api_key: str = DEFAULT_API_KEY) -> Sequence[Account]:
    """Return the accounts of a seed file: YAML, or CSV with the audiences of one account, a row each.

    The header of a CSV file names members of ``Audience``; a blank cell has the default.

    :param api_key: key of the account of a CSV file.
    :raises ValueError: the file cannot be read or is invalid; the message names the file and every wrong member, and
        repeats no value, as a value may be a key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = _read_csv(text, api_key) if path.suffix.lower() == ".csv" else yaml.safe_load(text)
        return Seed.model_validate(content).accounts
    except OSError as error:
        problems = [str(error.strerror)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        problems = [f"line {mark.line + 1}: {error.problem}" if mark else f"{error.problem}"]
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False, include_input=False)
        ]
    except (ValueError, csv.Error, yaml.YAMLError):
        # An impossible date, or bytes that are no text.
        problems = ["not a YAML or CSV file in UTF-8 with valid dates"]
    msg = f"Invalid seed file {path}:\n" + "\n".join(f"  {problem}" for problem in problems)
    raise ValueError(msg)


def _read_csv(text: str, api_key: str) -> Any:
    rows = csv.DictReader(StringIO(text), restkey="more cells than the header")
    audiences = [{name: cell for name, cell in row.items() if cell} for row in rows]
    return {"accounts": [{"name": DEFAULT_ACCOUNT, "keys": [{"key": api_key}], "audiences": audiences}]}


def _require_unique(noun: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"{noun} {twice[0]!r} is listed twice"
        raise ValueError(msg)
