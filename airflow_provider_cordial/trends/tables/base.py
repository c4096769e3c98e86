"""TrendsTable: what a load needs of a warehouse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import date
from typing import ClassVar

from airflow_provider_cordial.exceptions import UnsupportedWarehouseError
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.columns import Columns, validate_identifier
from airflow_provider_cordial.trends.tables.staging import Staging

#: Audience, day, and contacts; None if the row is blank.
Cell = tuple[str, date, int | None]


class TrendsTable(ABC):
    """A long table with one row per audience, day, and scope. A subclass builds the hook of its connection itself.

    :param conn_id: the Airflow connection of the warehouse.
    :param name: ``table``, ``schema.table``, or ``database.schema.table``.
    :param create: create the table on load if it does not exist.
    :param staging: where the load leaves its file for a warehouse that reads it from a storage.
    :raises InvalidExportError: the name is not an identifier, or the warehouse cannot use the staging location.
    """

    #: Whether ``load`` applies the batch's ``corrections`` and ``max_change``.
    supports_corrections: ClassVar[bool] = False

    def __init__(
        self, conn_id: str, name: str, columns: Columns, *, create: bool = False, staging: Staging | None = None
    ) -> None:
        self.validate_name(name)
        self.conn_id = conn_id
        self.name = name
        self.columns = columns
        self.create_if_missing = create
        self.staging = staging or Staging()

    def validate_name(self, name: str) -> None:
        """Reject the name of a table that nobody can type.

        :raises InvalidExportError: a part of it is not an identifier.
        """
        for part in name.split("."):
            validate_identifier("table", part, whole=name)

    def require_corrections(self) -> None:
        """Reject a class of which a load would ignore ``corrections`` and ``max_change``.

        :raises UnsupportedWarehouseError: the class does not support them.
        """
        if not self.supports_corrections:
            msg = (
                f"Table {self.name!r} cannot record corrections or bound a change: {type(self).__name__} does not "
                "support it. Load without corrections and max_change, or apply them in the class and set its "
                "supports_corrections."
            )
            raise UnsupportedWarehouseError(msg)

    def cells(self, audiences: Sequence[str], timeframe: Timeframe) -> Iterator[Cell]:  # noqa: ARG002
        """Yield the rows that the table has of the audiences and days in the scope: audience, day, contacts.

        :raises UnsupportedWarehouseError: the class of the table does not support it.
        :raises TableError: the table cannot be read.
        """
        msg = (
            f"Table {self.name!r} cannot be asked what it has: {type(self).__name__} has no method cells. Add it to "
            "the class, or load without a plan."
        )
        raise UnsupportedWarehouseError(msg)

    def probe(self) -> None:
        """Check what can be checked without a load, and write nothing.

        :raises TableError: the table does not exist, lacks a column, or has another key.
        """
        for _ in self.cells([""], Timeframe(date.min, date.min)):
            pass

    @abstractmethod
    def load(self, batch: TrendsBatch) -> LoadResult | int:
        """Replace the batch's audiences and days in the scope by its rows, completely or not at all.

        :returns: what became of the cells, or only how many rows the table has of them now.
        :raises TableError: the table cannot be loaded, and is as before.
        """
