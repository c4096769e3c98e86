"""AudienceTrendsToSqlOperator: load the delivered CSV into a table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_cordial._compat import BaseHook
from airflow_provider_cordial.assets import is_static, table_asset, table_uri, tell
from airflow_provider_cordial.exceptions import InvalidConnectionError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Context

    from airflow_provider_cordial.destinations.finder import FileWait
    from airflow_provider_cordial.trends.completeness import OnMissing
    from airflow_provider_cordial.trends.csv import CsvFormat
    from airflow_provider_cordial.trends.tables import Columns


class AudienceTrendsToSqlOperator(BaseOperator):
    """Load the delivered CSV of an Audience Trends export into a table of ``audience, snapshot_date, contacts``.

    Exactly the export's audiences and days are replaced, in one transaction: loading again leaves the same rows, and a
    load that is killed leaves the table as it was.

    Its outlet is ``assets.table_asset(conn_id, table)``, unless outlets are given, or the two hold templates; for
    mapped loads give it as an outlet in ``partial``. Events on its outlets tell ``days``, ``audiences``, ``rows``,
    ``missing`` and ``job_id``; for the keys of partitions see ``assets.tell``.

    :param export: ``export.output["export"]`` of the export operator (templated).
    :param conn_id: an Airflow connection to a database whose hook is a ``DbApiHook`` (templated).
    :param table: ``table`` or ``schema.table`` (templated).
    :param create_table: make the table if it is not there.
    :param columns: other names for the columns, and further ones that are the same in all rows (templated).
    :param path: the file's exact path at the destination, where it is not named after the export (templated).
    :param on_missing: what an audience or a day that was asked for and did not come is: ``fail``, ``warn``, ``ignore``.
    :param csv_format: how the file is written.
    :param file_wait: how long to wait for the file.
    :returns: the counts ``rows``, ``audiences``, ``days`` and ``missing`` (NULL rows), and the ``file``.
    :raises DeliveredFileNotFoundError: no such file came in time; a retry looks again.
    :raises TrendsCsvError: the file cannot be understood.
    :raises IncompleteTrendsError: the file is not what was asked for.
    """

    template_fields: Sequence[str] = ("export", "conn_id", "table", "path")
    ui_color = "#f0ead5"

    def __init__(
        self,
        *,
        export: Any,
        conn_id: str,
        table: str = "audience_trends",
        create_table: bool = False,
        columns: Columns | None = None,
        path: str | None = None,
        on_missing: OnMissing = "fail",
        csv_format: CsvFormat | None = None,
        file_wait: FileWait | None = None,
        **kwargs: Any,
    ) -> None:
        if "outlets" not in kwargs and is_static(conn_id, table):
            kwargs["outlets"] = [table_asset(conn_id, table)]
        super().__init__(**kwargs)
        self.export = export
        self.conn_id = conn_id
        self.table = table
        self.create_table = create_table
        self.columns = columns
        self.path = path
        self.on_missing = on_missing
        self.csv_format = csv_format
        self.file_wait = file_wait

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the file, wait until it is whole, and load it."""
        # Only here: a DAG file that loads is parsed faster so.
        from airflow_provider_cordial.trends.delivery import delivered_trends
        from airflow_provider_cordial.trends.tables import Columns, build_table

        hook = self._hook()
        columns = (self.columns or Columns()).rendered(lambda text: str(self.render_template(text, context)))
        table = build_table(hook, self.table, columns)
        with (
            delivered_trends(
                self.export,
                path=self.path,
                on_missing=self.on_missing,
                csv_format=self.csv_format,
                file_wait=self.file_wait,
            ) as trends,
            closing(hook.get_conn()) as connection,
            table.transaction(connection) as cursor,
        ):
            if self.create_table:
                table.create(cursor)
            rows = table.replace(
                cursor,
                trends.export.audiences,
                trends.export.timeframe,
                trends.reader.days,
                trends.rows(),
                job_id=trends.job_id,
                loaded_at=datetime.now(UTC),
            )
        self.log.info("Loaded %d rows of %s into %s", rows, trends.export.timeframe, self.table)
        counts = trends.counts(rows)
        tell(
            context,
            self.outlets,
            asset_uri=table_uri(self.conn_id, self.table),
            audiences=trends.export.audiences,
            timeframe=trends.export.timeframe,
            extra={"rows": rows, "missing": counts["missing"], "job_id": trends.job_id},
        )
        return counts

    def _hook(self) -> DbApiHook:
        from airflow.providers.common.sql.hooks.sql import DbApiHook

        hook = BaseHook.get_hook(self.conn_id)
        if not isinstance(hook, DbApiHook):
            msg = f"Airflow connection {self.conn_id!r} is of no database that Airflow has a DbApiHook for."
            raise InvalidConnectionError(msg)
        return hook
