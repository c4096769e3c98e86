"""Columns: how the columns of a table or file of audience trends are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from airflow_provider_cordial.exceptions import InvalidExportError

#: The columns that identify a row and its value.
DATA_COLUMNS = ("audience", "snapshot_date", "contacts")

#: The columns of a table, in the order of a row.
TABLE_COLUMNS = (*DATA_COLUMNS, "job_id", "loaded_at")

_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table or file.

    :param names: other names for ``audience``, ``snapshot_date``, ``contacts``, ``job_id``, ``loaded_at``; files have
        the first three.
    :param scope: more columns that identify a row, an account or a brand for instance, and the text that each has in
        all rows of this load (templated). A load replaces only rows of its own scope.
    :param constants: more columns that describe a row, and the text that each has in all rows (templated). Another load
        may change them.
    :raises InvalidExportError: a column is unknown, a name is not an identifier, or two columns have the same name.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    scope: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.names) - set(TABLE_COLUMNS)):
            msg = f"Unknown column {unknown[0]!r}: expected one of {', '.join(TABLE_COLUMNS)}."
            raise InvalidExportError(msg)
        names = self.of_table
        for name in names:
            validate_identifier("column", name)
        if len(set(names)) < len(names):
            msg = f"Duplicate column name: {', '.join(names)}. Give each column a name of its own."
            raise InvalidExportError(msg)

    def __getitem__(self, column: str) -> str:
        return self.names.get(column, column)

    def rendered(self, render: Callable[[str], str]) -> Columns:
        """Return the columns with the texts of the scope and of the constants rendered."""

        def render_all(texts: Mapping[str, str]) -> dict[str, str]:
            return {name: render(text) for name, text in texts.items()}

        return replace(self, scope=render_all(self.scope), constants=render_all(self.constants))

    @property
    def key(self) -> list[str]:
        """The column names that identify a row of a table."""
        return [self["audience"], self["snapshot_date"], *self.scope]

    @property
    def shared(self) -> dict[str, str]:
        """The columns of the scope and the constants, and the text that each has in all rows."""
        return {**self.scope, **self.constants}

    @property
    def of_table(self) -> list[str]:
        """The column names of a table, in the order of a row."""
        return [*map(self.__getitem__, TABLE_COLUMNS), *self.scope, *self.constants]

    @property
    def of_file(self) -> list[str]:
        """The column names of a file, in the order of a row."""
        return [*map(self.__getitem__, DATA_COLUMNS), *self.scope, *self.constants]


def validate_identifier(what: str, name: str, *, whole: str | None = None) -> None:
    """Reject a name that is not a plain identifier: even if quoting permits it, nobody can type it.

    :raises InvalidExportError: the name is not an identifier.
    """
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        expected = "letters, digits, and underscores" + (", as table or schema.table" if what == "table" else "")
        msg = f"Invalid {what} name {whole or name!r}: expected {expected}."
        raise InvalidExportError(msg)
