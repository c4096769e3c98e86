"""Everything that belongs to one account while the sandbox runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete

from cordial_sandbox.accounts import Account, AccountChange, ApiKey
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.rate_limit import Windows
from cordial_sandbox.store import Store
from cordial_sandbox.tables import Fact


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
    _change: AccountChange = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._first = self.account
        with self.store.session() as session:
            stored = session.get(Fact, self._key)
        self._set(AccountChange.model_validate({} if stored is None else stored.value))

    def change(self, change: AccountChange) -> None:
        """Change the audiences, the time zone, or both, until a reset restores those of the start."""
        merged = self._change.merge(change)
        with self.store.session() as session:
            session.merge(Fact(key=self._key, value=merged.model_dump(mode="json", by_alias=True)))
        self._set(merged)

    def restore(self) -> None:
        """Restore the audiences and the time zone of the start."""
        if self._change != AccountChange():
            with self.store.session() as session:
                session.execute(delete(Fact).where(Fact.key == self._key))
            self._set(AccountChange())

    @property
    def changes(self) -> AccountChange:
        """How the account differs from that of the start."""
        return self._change

    @property
    def _key(self) -> str:
        return f"account {self._first.name}"

    def _set(self, change: AccountChange) -> None:
        self._change = change
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
