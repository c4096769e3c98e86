"""DeliveredFileOperator: what all operators for a delivered file share; and what all loads of Audience Trends share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_cordial.assets import publish_event
from airflow_provider_cordial.client import metrics
from airflow_provider_cordial.lineage import Dataset, delivered_dataset
from airflow_provider_cordial.links.job import CordialJobLink, write_job_link

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cordial.destinations import FileWait
    from airflow_provider_cordial.trends import Columns, CsvFormat, LoadResult, OnMissing
    from airflow_provider_cordial.trends.delivery import DeliveredTrends


class DeliveredFileOperator(BaseOperator):
    """Find the delivered file of an export, and wait until it is complete.

    :param export: ``export.output["export"]`` of the export operator (templated).
    :param source_path: the delivered file's exact path, if it is not named after the export (templated).
    :param parts: take numbered files (``<name>-1.csv``, ``<name>-2.csv``), in the order of their numbers.
    :param file_wait: how long to wait for the delivered file.
    :raises DeliveredFileNotFoundError: no such file arrived in time; a retry searches again.
    :raises AmbiguousFileError: several files could be the delivered one.
    """

    template_fields: Sequence[str] = ("export", "source_path")
    ui_color = "#f0ead5"
    #: What this process has read and written.
    _lineage: tuple[Dataset, Dataset] | None = None
    operator_extra_links = (CordialJobLink(),)

    def __init__(
        self,
        *,
        export: Any,
        source_path: str | None = None,
        parts: bool = False,
        file_wait: FileWait | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export = export
        self.source_path = source_path
        self.parts = parts
        self.file_wait = file_wait

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return the delivered file, and what it was loaded into, for OpenLineage."""
        from airflow_provider_cordial.lineage import operator_lineage

        if self._lineage is None:
            return None
        delivered, written = self._lineage
        return operator_lineage([delivered], [written])

    def _write_job_link(self, context: Context) -> None:
        if isinstance(self.export, Mapping):
            write_job_link(context, str(self.export.get("job_url") or ""))


class AudienceTrendsLoadOperator(DeliveredFileOperator):
    """Find the delivered CSV of an Audience Trends export, wait until it is complete, and load it.

    :param export: ``export.output["export"]`` of the export operator (templated).
    :param columns: other names for the columns, and columns of the scope and constant ones (their texts are
        templated).
    :param source_path: the delivered file's exact path, if it is not named after the export (templated).
    :param parts: read numbered files (``<name>-1.csv``, ``<name>-2.csv``) as one, in the order of their numbers.
    :param on_missing: what happens if a requested audience or day is missing: ``fail``, ``warn``, or ``ignore``.
    :param csv_format: how the delivered file is written.
    :param file_wait: how long to wait for the delivered file.
    :raises DeliveredFileNotFoundError: no such file arrived in time; a retry searches again.
    :raises AmbiguousFileError: several files could be the delivered one.
    :raises TrendsCsvError: the file cannot be read.
    :raises IncompleteTrendsError: the file lacks something requested; a retry reads it again.
    :raises ForeignTrendsError: the file belongs to another export.
    """

    def __init__(
        self,
        *,
        columns: Columns | None = None,
        on_missing: OnMissing = "fail",
        csv_format: CsvFormat | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.columns = columns
        self.on_missing = on_missing
        self.csv_format = csv_format

    def _rendered_columns(self, context: Context) -> Columns:
        from airflow_provider_cordial.trends import Columns

        return (self.columns or Columns()).rendered(lambda text: str(self.render_template(text, context)))

    def _open_trends(self, context: Context) -> AbstractContextManager[DeliveredTrends]:
        # Imported here to keep DAG parsing fast.
        from airflow_provider_cordial.trends.delivery import open_delivered_trends

        self._write_job_link(context)
        return open_delivered_trends(
            self.export,
            path=self.source_path,
            parts=self.parts,
            on_missing=self.on_missing,
            csv_format=self.csv_format,
            file_wait=self.file_wait,
        )

    def _finish(
        self,
        context: Context,
        trends: DeliveredTrends,
        loaded: LoadResult | int,
        *,
        asset_uris: Sequence[str] = (),
        written: Dataset,
        **more: Any,
    ) -> dict[str, Any]:
        """Publish the load on the outlets, and return its result.

        :param loaded: what became of the cells, or only the number of rows.
        :param asset_uris: of the assets to add to an ``AssetAlias`` among the outlets.
        :param written: the table or the files, for lineage.
        :param more: what else the event and the result contain.
        """
        counts = {**trends.counts(loaded), **trends.export.refusals(), **more}
        metrics.count("load.completed", operator=type(self).__name__)
        for name in ("rows", "new", "corrected", "blank", "kept"):
            if counts.get(name):
                metrics.count(f"load.{name}", counts[name], operator=type(self).__name__)
        # The audiences and days of the event are lists: those of the export.
        extra = {name: value for name, value in counts.items() if name not in ("audiences", "days")}
        delivered = delivered_dataset(trends.uri, trends.export.name)
        self._lineage = (delivered, replace(written, rows=counts["rows"]))
        publish_event(
            context,
            self.outlets,
            asset_uris=asset_uris,
            days=trends.export.days(),
            extra={**trends.export.event_extra(), **extra, "job_id": trends.job_id},
        )
        return counts
