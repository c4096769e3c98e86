"""AudienceTrendsToSqlOperator: load the delivered CSV into a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.assets import is_static, table_asset, table_uri
from airflow_provider_cordial.transfers.base import AudienceTrendsLoadOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class AudienceTrendsToSqlOperator(AudienceTrendsLoadOperator):
    """Load the delivered CSV of an Audience Trends export into a table of ``audience, snapshot_date, contacts``.

    Exactly the export's audiences and days are replaced, in one transaction: loading again results in the same rows,
    and a killed load leaves the table unchanged.

    The default outlet is ``assets.table_asset(conn_id, table)``, if neither of the two is templated; set it explicitly
    in ``partial`` for mapped loads. Events on the outlets carry ``days``, ``audiences``, ``rows``, ``missing``, and
    ``job_id``; for partition keys see ``assets.publish_event``.

    More parameters and errors: see ``AudienceTrendsLoadOperator``.

    :param conn_id: an Airflow connection to a database whose hook is a ``DbApiHook``, or whose type was registered with
        ``trends.register_table`` (templated).
    :param table: ``table`` or ``schema.table`` (templated).
    :param create_table: create the table if it does not exist.
    :returns: ``rows``, ``audiences``, ``days``, ``missing`` (NULL rows), the ``file``, and the ``refused_audiences`` if
        Cordial refused some.
    :raises InvalidConnectionError: the connection does not belong to a supported database.
    """

    template_fields: Sequence[str] = (*AudienceTrendsLoadOperator.template_fields, "conn_id", "table")

    def __init__(
        self,
        *,
        conn_id: str,
        table: str = "audience_trends",
        create_table: bool = False,
        **kwargs: Any,
    ) -> None:
        if "outlets" not in kwargs and is_static(conn_id, table):
            kwargs["outlets"] = [table_asset(conn_id, table)]
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.table = table
        self.create_table = create_table

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the file, wait until it is complete, and load it."""
        from airflow_provider_cordial.trends.tables import build_table

        table = build_table(self.conn_id, self.table, self._rendered_columns(context), create=self.create_table)
        with self._open_trends() as trends:
            rows = table.load(trends.batch(datetime.now(UTC)))
        self.log.info("Loaded %d rows of %s into %s", rows, trends.export.timeframe, self.table)
        return self._finish(context, trends, rows, asset_uri=table_uri(self.conn_id, self.table))
