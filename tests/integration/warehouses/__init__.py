"""The same contract for every warehouse: one module per warehouse says what serves it, and how it is asked."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

import pytest

from airflow_provider_cordial.trends import Columns, LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables import Staging, build_table

#: The environment variable with an account to test in place of the emulators: see ``scripts/test_warehouse.py``.
ACCOUNT = "CORDIAL_TEST_WAREHOUSE"

#: The modules of this package that serve a warehouse.
NAMES: tuple[str, ...] = (
    "sqlite",
    "duckdb",
    "unknown",
    "postgres",
    "mariadb",
    "snowflake",
    "bigquery",
    "redshift",
    "databricks",
)
if os.environ.get(ACCOUNT):
    NAMES = ("account",)


class Warehouse(ABC):
    """A warehouse behind the connection ``warehouse``, and what the contract has to know of it."""

    #: What stands for it: the server itself, or an emulator and its version.
    served_by: ClassVar[str] = "server"

    #: The table, as a load names it.
    table: ClassVar[str] = "trends"

    staging: ClassVar[Staging | None] = None

    #: The types of a table that was created by somebody else.
    text: ClassVar[str] = "TEXT"
    moment: ClassVar[str] = "TIMESTAMP"

    #: What a table needs for a number of its own as the primary key; None if keys are not enforced, and not read.
    own_key: ClassVar[str | None] = None

    #: Whether several loads run at once; otherwise the second fails, and a retry helps.
    is_concurrent: ClassVar[bool] = True

    #: Whether corrections are recorded in the transaction of the load; otherwise they may be recorded before it.
    records_with_the_load: ClassVar[bool] = True

    has_password: ClassVar[bool] = True

    #: Characters of the longest audience that a new table takes.
    longest_name: ClassVar[int] = 1_000_000

    #: ``module:function`` or ``module:class.method`` of what the load asks the warehouse with.
    steps: ClassVar[tuple[str, ...]] = ()

    #: The tests that cannot run here, and why.
    not_shown: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def connection(self) -> dict[str, Any]:
        """Return the fields of an Airflow connection to it."""

    @abstractmethod
    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement, commit, and return its rows."""

    @abstractmethod
    def drop(self) -> None:
        """Remove the table, and its corrections table."""

    def set_up(self, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: B027 - most need nothing
        """Set what a process needs to reach it, besides the connection."""

    def leftovers(self) -> Sequence[str]:
        """Return what loads left outside of the table, and what does not expire."""
        return ()

    def load(self, one: TrendsBatch, columns: Columns | None = None, *, create: bool = True) -> LoadResult:
        table = build_table("warehouse", self.table, columns or Columns(), create=create, staging=self.staging)
        result = table.load(one)
        assert isinstance(result, LoadResult)
        return result

    def rows(
        self, columns: str = "audience, snapshot_date, contacts, job_id", *, table: str | None = None
    ) -> list[tuple[Any, ...]]:
        found = self.run(f"SELECT {columns} FROM {table or self.table}")
        return sorted((tuple(str(x) if isinstance(x, date) else x for x in row) for row in found), key=str)

    def corrections(
        self, columns: str = "audience, snapshot_date, old_contacts, new_contacts, job_id"
    ) -> list[tuple[Any, ...]]:
        """Return what was recorded."""
        return self.rows(columns, table=f"{self.table}_corrections")

    def create(self, columns: str) -> None:
        """Create the table as somebody else would: ``{text}`` and ``{moment}`` are types."""
        self.run(f"CREATE TABLE {self.table} ({columns.format(text=self.text, moment=self.moment)})")

    def insert(self, *values: object) -> None:
        """Insert a row: texts, numbers, and dates."""
        self.run(f"INSERT INTO {self.table} VALUES ({', '.join(map(self.literal, values))})")

    def literal(self, value: object) -> str:
        return str(value) if isinstance(value, int) else f"'{value}'"
