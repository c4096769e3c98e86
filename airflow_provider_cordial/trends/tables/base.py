"""TrendsTable: what a load needs of a warehouse."""

from __future__ import annotations

from abc import ABC, abstractmethod

from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.columns import Columns, validate_identifier


class TrendsTable(ABC):
    """A long table with one row per audience, day, and scope. A subclass builds the hook of its connection itself.

    :param conn_id: the Airflow connection of the warehouse.
    :param name: ``table`` or ``schema.table``.
    :param create: create the table on load if it does not exist.
    :raises InvalidExportError: the name is not an identifier.
    """

    def __init__(self, conn_id: str, name: str, columns: Columns, *, create: bool = False) -> None:
        for part in name.split("."):
            validate_identifier("table", part, whole=name)
        self.conn_id = conn_id
        self.name = name
        self.columns = columns
        self.create_if_missing = create

    @abstractmethod
    def load(self, batch: TrendsBatch) -> LoadResult | int:
        """Replace the batch's audiences and days in the scope by its rows, completely or not at all.

        :returns: what became of the cells, or only how many rows the table has of them now.
        :raises TableError: the table cannot be loaded, and is as before.
        """
