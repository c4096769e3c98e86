"""Whether the unique keys of a table fit what a load replaces."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from airflow_provider_cordial.exceptions import UnsuitableTableError
from airflow_provider_cordial.trends.columns import Columns


def check_keys(table: str, columns: Columns, unique: Iterable[Collection[str]]) -> bool:
    """Return whether one of the unique keys is exactly that of a row.

    A key that lacks the audience or the day and has other columns, a row number for instance, does not matter.

    :param unique: the columns of each unique key of the table.
    :raises UnsuitableTableError: a load would delete rows that are not its own, or conflict with them.
    """
    key = {name.lower() for name in columns.key}
    cell = {columns["audience"].lower(), columns["snapshot_date"].lower()}
    fits = False
    for names in unique:
        found = {name.lower() for name in names}
        shown = f"Table {table!r} has the unique key ({', '.join(names)})"
        mine = f"a row of this load is identified by ({', '.join(columns.key)})"
        if cell <= found and (others := sorted(found - key)):
            msg = (
                f"{shown}, but {mine}: the load would replace the rows of every {' and '.join(others)}. Add it to the "
                "scope of the Columns, or load into another table."
            )
            raise UnsuitableTableError(msg, table=table)
        if found < key:
            lacking = " and ".join(name for name in columns.key if name.lower() not in found)
            msg = (
                f"{shown}, but {mine}: two loads would conflict. Add {lacking} to the key, or load into another table."
            )
            raise UnsuitableTableError(msg, table=table)
        fits = fits or found == key
    return fits
