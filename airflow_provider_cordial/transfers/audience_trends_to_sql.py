"""AudienceTrendsToSqlOperator: load the delivered CSV into a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.assets import is_static, table_asset, table_uri
from airflow_provider_cordial.client import traces
from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.transfers.base import AudienceTrendsLoadOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cordial.trends import OnBlank


class AudienceTrendsToSqlOperator(AudienceTrendsLoadOperator):
    """Load the delivered CSV of an Audience Trends export into a table of ``audience, snapshot_date, contacts``.

    Exactly the file's audiences and days are replaced, in the scope of the ``columns`` and in one transaction: loading
    again results in the same rows, and a killed load leaves the table unchanged.

    The default outlet is ``assets.table_asset(conn_id, table)``, if neither of the two is templated; set it explicitly
    in ``partial`` for mapped loads. An ``AssetAlias`` among the outlets gets this asset, and the one by which other
    providers know the table, ``postgres://host:5432/database/schema/table`` for instance.

    Events on the outlets carry the export's ``days`` and ``audiences``, the ``job_id``, and the other results; for
    partition keys see ``assets.publish_event``.

    More parameters and errors: see ``AudienceTrendsLoadOperator``.

    :param conn_id: an Airflow connection to PostgreSQL, MySQL, MariaDB, SQLite, DuckDB, Snowflake, BigQuery, Redshift,
        or Databricks; to another database whose hook is a ``DbApiHook`` that can switch autocommit off; or of a type
        that was registered with ``trends.register_table`` (templated).
    :param table: ``table`` or ``schema.table``; in Snowflake and Databricks also ``database.schema.table``, in BigQuery
        ``dataset.table`` or ``project.dataset.table`` (templated).
    :param staging: where the load leaves its file for the warehouse: ``s3://bucket/prefix`` for Redshift,
        ``/Volumes/catalog/schema/volume`` for Databricks, a dataset for BigQuery, by default that of the table
        (templated). Other warehouses need none.
    :param staging_conn_id: an Airflow connection to the ``staging``; for Redshift an AWS connection, by default
        ``aws_default`` (templated).
    :param create_table: create the table if it does not exist; its key is audience, day, and the scope.
    :param on_blank: ``keep`` a number that the table has where the file is blank, or ``replace`` it by NULL.
    :param corrections: record each known number that the load changes, or replaces by NULL, in the table
        ``<table>_corrections``: when, by which job, the old number, and the new one. It happens in the transaction of
        the load, in Databricks before it; ``create_table`` creates that table as well.
    :param max_change: the largest share of the known contacts that the load may change: 0.5 for 50%. It is the sum of
        the differences, divided by the sum of the old numbers, of all cells that have a number in the table and in the
        file. Above it nothing is written.
    :returns: ``rows``, and of these the ``new``, ``same``, ``corrected``, ``blank``, and ``kept`` ones (see
        ``trends.LoadResult``), ``audiences``, ``days``, ``missing`` (blank cells of the file), the ``file``, the
        ``refused_audiences`` if Cordial refused some, and with ``max_change`` the share that changed, ``change``.
    :raises InvalidConnectionError: the connection does not belong to a database.
    :raises UnsupportedWarehouseError: the database cannot replace rows completely or not at all.
    :raises ExcessiveChangeError: the load would change more than ``max_change``; a retry does not help.
    :raises TableError: the database rejected the load.
    """

    template_fields: Sequence[str] = (
        *AudienceTrendsLoadOperator.template_fields,
        "conn_id",
        "table",
        "staging",
        "staging_conn_id",
    )

    def __init__(
        self,
        *,
        conn_id: str,
        table: str = "audience_trends",
        staging: str | None = None,
        staging_conn_id: str | None = None,
        create_table: bool = False,
        on_blank: OnBlank = "keep",
        corrections: bool = False,
        max_change: float | None = None,
        **kwargs: Any,
    ) -> None:
        if "outlets" not in kwargs and is_static(conn_id, table):
            kwargs["outlets"] = [table_asset(conn_id, table)]
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.table = table
        self.staging = staging
        self.staging_conn_id = staging_conn_id
        self.create_table = create_table
        self.on_blank = on_blank
        self.corrections = corrections
        self.max_change = max_change

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the file, wait until it is complete, and load it."""
        self.validate_load()
        return self.load(context)

    def validate_load(self) -> None:
        """Reject parameters that no load can have.

        :raises InvalidExportError: a parameter is invalid.
        """
        if self.on_blank not in ("keep", "replace"):
            msg = f"Invalid on_blank {self.on_blank!r}: use keep or replace."
            raise InvalidExportError(msg)
        if self.corrections is not False or self.max_change is not None:
            from airflow_provider_cordial.trends import Columns
            from airflow_provider_cordial.trends.corrections import validate_corrections

            validate_corrections(self.corrections, self.max_change, self.columns or Columns())

    def load(self, context: Context) -> dict[str, Any]:
        """Load the file of ``export``, and publish the load."""
        # Imported here to keep DAG parsing fast.
        from airflow_provider_cordial.lineage import Dataset
        from airflow_provider_cordial.trends.tables import Staging, build_table
        from airflow_provider_cordial.trends.tables.location import locate_table

        columns = self._rendered_columns(context)
        table = build_table(
            self.conn_id,
            self.table,
            columns,
            create=self.create_table,
            staging=Staging(location=self.staging, conn_id=self.staging_conn_id, owner=_owner(context)),
        )
        if self.corrections or self.max_change is not None:
            table.require_corrections()
        # Before the load: an error here must not follow a commit.
        location = locate_table(self.conn_id, self.table)
        with self._open_trends(context) as trends, traces.span("load", conn_id=self.conn_id, table=self.table):
            batch = trends.batch(
                datetime.now(UTC), on_blank=self.on_blank, corrections=self.corrections, max_change=self.max_change
            )
            loaded = table.load(batch)
        ours = table_uri(self.conn_id, self.table)
        counts = self._finish(
            context,
            trends,
            loaded,
            asset_uris=[ours, location.uri] if location else [ours],
            written=Dataset(
                location.namespace if location else f"x-airflow-sql://{self.conn_id}",
                location.name if location else self.table,
                tuple(columns.of_table),
            ),
        )
        shown = ", ".join(f"{name} {value}" for name, value in {**counts, "job_id": trends.job_id}.items())
        self.log.info("Loaded %s into %s: %s", trends.export.timeframe, self.table, shown)
        return counts


def _owner(context: Context) -> str:
    """Return the folder of the task instance in the staging location."""
    from airflow_provider_cordial.trends.tables.staging import owner_of

    ti = context.get("ti")
    if ti is None:
        return owner_of("manual", "load", "", -1)
    return owner_of(ti.dag_id, ti.task_id, ti.run_id, ti.map_index if ti.map_index is not None else -1)
