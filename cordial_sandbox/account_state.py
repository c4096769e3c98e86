"""Everything that belongs to one account while the sandbox runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cordial_sandbox.accounts import Account, ApiKey
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.rate_limit import Windows
from cordial_sandbox.store import Store


@dataclass(frozen=True, slots=True)
class AccountState:
    account: Account
    store: Store
    runner: JobRunner
    windows: Windows


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of a sandbox, of which there is at least one."""

    states: Sequence[AccountState]

    @property
    def first(self) -> AccountState:
        return self.states[0]

    def find(self, name: str | None) -> AccountState | None:
        """Return an account by its name; the first without one."""
        if name is None:
            return self.first
        return next((state for state in self.states if state.account.name == name), None)

    def by_key(self) -> Mapping[str, tuple[AccountState, ApiKey]]:
        return {key.key: (state, key) for state in self.states for key in state.account.keys}
