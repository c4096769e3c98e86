"""Everything that belongs to one account while the sandbox runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cordial_sandbox.accounts import Account, AccountChange, ApiKey
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.rate_limit import Windows
from cordial_sandbox.store import Store


@dataclass(slots=True)
class AccountState:
    """An account and its parts.

    :param account: the account as it is now, which a stored change may have changed since the start.
    """

    account: Account
    store: Store
    runner: JobRunner
    windows: Windows
    _first: Account = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._first = self.account
        self._set(self.store.account_change)

    def change(self, change: AccountChange) -> None:
        """Change the audiences, the time zone, or both, until a reset restores those of the start."""
        self.store.set_account_change(self.store.account_change.merge(change))
        self._set(self.store.account_change)

    def restore(self) -> None:
        """Restore the audiences and the time zone of the start."""
        if self.store.account_change != AccountChange():
            self.store.set_account_change(AccountChange())
            self._set(AccountChange())

    def _set(self, change: AccountChange) -> None:
        self.account = self._first.apply(change)
        self.runner.set_account(self.account)


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
