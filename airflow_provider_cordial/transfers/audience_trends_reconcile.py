"""AudienceTrendsReconcileOperator: export again, and compare the file with a table cell by cell."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_cordial.exceptions import InvalidParameterError, TableDiffersError
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.transfers.base import AudienceTrendsLoadOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cordial.exports.base import SubmittedExport
    from airflow_provider_cordial.trends import TrendsTable
    from airflow_provider_cordial.trends.reconcile import Comparison, Difference

OnDifference = Literal["fail", "warn"]

#: The key of the XCom with the cells that differ.
DIFFERENCES_KEY = "differences"

_REPORT_COLUMNS = ("audience", "snapshot_date", "difference", "table", "file")


class AudienceTrendsReconcileOperator(AudienceTrendsLoadOperator, AudienceTrendsExportOperator):
    """Export Audience Trends again, and compare the file with a table cell by cell; the table is only read.

    A table can differ from Cordial although each load was right: Cordial corrected a number later, somebody changed a
    row, or a backup was restored. Each cell of the file is equal, or differs in one way: ``changed`` (another number),
    ``missing`` (the table has no row), ``blank`` (the table's row has no number), or ``lost`` (the table has a number,
    and the file is blank). A blank cell of the file equals a blank row and no row.

    The other parameters are those of ``AudienceTrendsExportOperator`` and ``AudienceTrendsLoadOperator``. A retry
    resumes the job and compares its file again. A clear exports again, unless the job is still live. A killed task
    leaves the report of an earlier run, or has replaced it. The operator publishes no asset event.

    The XCom ``differences`` contains the days that differ by audience, up to 10,000 cells: what a plan takes. To load
    them again replaces all of them except the ``lost`` ones, which a load keeps unless ``on_blank="replace"``.

    :param conn_id: an Airflow connection to the warehouse (templated).
    :param table: as for ``AudienceTrendsToSqlOperator`` (templated).
    :param staging: as for ``AudienceTrendsToSqlOperator`` (templated).
    :param staging_conn_id: an Airflow connection to the ``staging`` (templated).
    :param sample: compare only so many of the audiences, picked at random by the run's id; by default all.
    :param on_difference: ``warn`` to log the differences and succeed, so that the tasks that follow can load them
        again; or ``fail``, after the report and the XCom were written.
    :param report_path: write all differences to this CSV, a local path or a URL such as ``s3://bucket/report.csv``
        (templated). Without differences it has only a header. An existing file is replaced, completely or not at all.
    :param report_conn_id: the Airflow connection of the URL, unless the URL contains one (templated).
    :param deferrable: wait in the triggerer.
    :returns: the cells ``compared``, of these the ``changed``, ``missing``, ``blank``, and ``lost`` ones,
        ``audiences``, ``days``, the delivered ``file``, the ``job_id``, the ``report``, whether the XCom is
        ``truncated``, and the ``refused_audiences`` if Cordial refused some.
    :raises TableDiffersError: with ``fail``, a cell differs.
    :raises TableError: the table cannot be read.
    :raises CordialError: see both operators.
    """

    template_fields: Sequence[str] = (
        *AudienceTrendsExportOperator.template_fields,
        # The export is this task's own.
        *(field for field in AudienceTrendsLoadOperator.template_fields if field != "export"),
        "conn_id",
        "table",
        "staging",
        "staging_conn_id",
        "report_path",
        "report_conn_id",
    )
    ui_color = "#e6dcf0"

    def __init__(
        self,
        *,
        conn_id: str,
        table: str = "audience_trends",
        staging: str | None = None,
        staging_conn_id: str | None = None,
        sample: int | None = None,
        on_difference: OnDifference = "warn",
        report_path: str | None = None,
        report_conn_id: str | None = None,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(export=None, wait_for_completion=True, deferrable=deferrable, **kwargs)
        self.conn_id = conn_id
        self.table = table
        self.staging = staging
        self.staging_conn_id = staging_conn_id
        self.sample = sample
        self.on_difference = on_difference
        self.report_path = report_path
        self.report_conn_id = report_conn_id

    def execute(self, context: Context) -> Any:
        """Submit the export, or resume the job of an earlier try; wait for it, and compare its file with the table."""
        if self.on_difference not in get_args(OnDifference):
            msg = f"Invalid on_difference {self.on_difference!r}: expected 'fail' or 'warn'."
            raise InvalidParameterError(msg)
        if self.report_path is not None and (not self.report_path or self.report_path.endswith("/")):
            msg = f"Invalid report_path {self.report_path!r}: expected the path of a file."
            raise InvalidParameterError(msg)
        # An unknown connection or an invalid name is an error before anything is exported.
        self._build_table(context)
        return super().execute(context)

    def choose_audiences(self, context: Context, audiences: tuple[str, ...]) -> tuple[str, ...]:
        """Return the sample of this run."""
        from airflow_provider_cordial.trends.reconcile import pick_sample

        if self.sample is None:
            return audiences
        return pick_sample(audiences, self.sample, seed=context["ti"].run_id)

    def complete(self, context: Context, submitted: SubmittedExport) -> dict[str, Any]:
        """Compare the file of the Done job with the table."""
        # Imported here to keep DAG parsing fast.
        from airflow_provider_cordial.exports.timeframe import Timeframe
        from airflow_provider_cordial.trends.reconcile import Comparison, find_differences

        self._published = submitted
        self._still_running = None
        self.export = submitted.to_json()
        comparison = Comparison()
        table = self._build_table(context)
        with self._open_trends(context) as trends, self._open_report() as report:
            spool = trends.spool
            days = Timeframe(min(spool.days), max(spool.days)) if spool.days else trends.export.timeframe
            for difference in find_differences(spool, spool.days, lambda some: table.cells(some, days)):
                comparison.add(difference)
                report.writerow(_report_row(difference))
        context["ti"].xcom_push(key=DIFFERENCES_KEY, value=comparison.cells)
        self._finish_comparison(comparison, spool.cells)
        return {
            "compared": spool.cells,
            **comparison.counts,
            "audiences": len(spool.audiences),
            "days": len(spool.days),
            "file": trends.path,
            **trends.export.refusals(),
            "job_id": submitted.job_id,
            "report": self.report_path,
            "truncated": comparison.is_truncated,
        }

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the audiences that the export read and the file that Cordial delivered, for OpenLineage."""
        return AudienceTrendsExportOperator.get_openlineage_facets_on_complete(self, task_instance)

    def _build_table(self, context: Context) -> TrendsTable:
        from airflow_provider_cordial.trends.tables import Staging, build_table

        staging = Staging(location=self.staging, conn_id=self.staging_conn_id)
        return build_table(self.conn_id, self.table, self._rendered_columns(context), staging=staging)

    @contextmanager
    def _open_report(self) -> Iterator[Any]:
        """Yield the writer of the report, which is copied to its place when it is complete."""
        from airflow.sdk import ObjectStoragePath

        from airflow_provider_cordial.trends.files import publish_file

        with tempfile.TemporaryDirectory(prefix="cordial-") as folder:
            local = Path(folder) / "report.csv"
            with local.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(_REPORT_COLUMNS)
                yield writer
            if self.report_path is not None:
                publish_file(local, ObjectStoragePath(self.report_path, conn_id=self.report_conn_id))

    def _finish_comparison(self, comparison: Comparison, compared: int) -> None:
        """Log what differs, or fail."""
        if not comparison.total:
            self.log.info("Table %s equals Cordial in all %d cells", self.table, compared)
            return
        counts = ", ".join(f"{kind} {count}" for kind, count in comparison.counts.items() if count)
        first = "; ".join(map(str, comparison.first)) + ("; ..." if comparison.total > len(comparison.first) else "")
        if self.on_difference == "warn":
            text = "Table %s differs from Cordial in %d of %d cells: %s. %s"
            self.log.warning(text, self.table, comparison.total, compared, counts, first)
            return
        msg = (
            f"Table {self.table!r} differs from Cordial in {comparison.total} of {compared} cells: {counts}. "
            f"First: {first}. Load these days again."
        )
        raise TableDiffersError(msg)


def _report_row(difference: Difference) -> tuple[object, ...]:
    return (
        difference.audience,
        difference.snapshot_date.isoformat(),
        difference.kind,
        difference.table,
        difference.file,
    )
