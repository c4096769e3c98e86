"""AudienceTrendsToFileOperator: turn the delivered wide CSV into long files, for a warehouse's own load."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.lineage import file_dataset
from airflow_provider_cordial.transfers.base import AudienceTrendsLoadOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cordial.trends import Columns
    from airflow_provider_cordial.trends.files import FileFormat

FORMATS = ("csv", "parquet")


class AudienceTrendsToFileOperator(AudienceTrendsLoadOperator):
    """Write the long rows of an Audience Trends export as CSV or Parquet to anything that ObjectStoragePath reaches.

    The whole export is checked before the first file is written. Writing again results in files with the same names and
    rows: a retry or a clear replaces them. So use a different path for each task.

    Events on the outlets carry ``days``, ``audiences``, ``rows``, ``missing``, ``files``, ``path``, and ``job_id``; for
    partition keys see ``assets.publish_event``.

    More parameters and errors: see ``AudienceTrendsLoadOperator``.

    :param path: the target folder: a local path, or a URL such as ``s3://bucket/trends`` (templated).
    :param path_conn_id: the Airflow connection of the URL, unless the URL contains one (templated).
    :param file_format: ``csv``, or ``parquet``, which requires the package pyarrow.
    :param partition_by_day: write ``snapshot_date=<day>/<file_name>`` for each day; otherwise one file,
        ``<file_name>-<first day>-<last day>``.
    :param file_name: without an extension (templated).
    :returns: ``rows``, ``audiences``, ``days``, ``missing``, the delivered ``file``, the number of ``files`` written,
        and their ``path``.
    :raises InvalidExportError: a parameter is invalid.
    """

    template_fields: Sequence[str] = (*AudienceTrendsLoadOperator.template_fields, "path", "path_conn_id", "file_name")

    def __init__(
        self,
        *,
        path: str,
        path_conn_id: str | None = None,
        file_format: FileFormat = "csv",
        partition_by_day: bool = True,
        file_name: str = "audience_trends",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.path_conn_id = path_conn_id
        self.file_format = file_format
        self.partition_by_day = partition_by_day
        self.file_name = file_name

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the file, wait until it is complete, and write it again as long files."""
        from airflow.sdk import ObjectStoragePath

        # Imported here to keep DAG parsing fast.
        from airflow_provider_cordial.trends.files import convert_to_parquet, publish_file, write_long_csv

        columns = self._rendered_columns(context)
        self._validate(columns)
        with tempfile.TemporaryDirectory(prefix="cordial-") as folder:
            with self._open_trends(context) as trends:
                spool = trends.spool
                rows, files = write_long_csv(
                    Path(folder), spool.days, spool, columns=columns, by_day=self.partition_by_day
                )
            timeframe = trends.export.timeframe
            target = ObjectStoragePath(self.path, conn_id=self.path_conn_id)
            for day, path in files.items():
                ready = convert_to_parquet(path, columns) if self.file_format == "parquet" else path
                name = self.file_name if day else f"{self.file_name}-{timeframe.start}-{timeframe.end}"
                place = target / f"{columns['snapshot_date']}={day}" if day else target
                publish_file(ready, place / f"{name}{ready.suffix}")
        self.log.info("Wrote %d rows of %s in %d files to %s", rows, timeframe, len(files), self.path)
        # An Airflow connection before the @ is not part of the place.
        uri = re.sub(r"//[^/@]*@", "//", self.path)
        written = file_dataset(uri, columns=tuple(columns.of_file))
        return self._finish(context, trends, rows, written=written, files=len(files), path=self.path)

    def _validate(self, columns: Columns) -> None:
        from airflow_provider_cordial.trends.columns import DATA_COLUMNS

        if self.file_format not in FORMATS:
            msg = f"Unsupported file_format {self.file_format!r}: use {' or '.join(FORMATS)}."
            raise InvalidExportError(msg)
        if not self.file_name or "/" in self.file_name:
            msg = f"Invalid file_name {self.file_name!r}: must be non-empty, without slashes."
            raise InvalidExportError(msg)
        if unknown := sorted(set(columns.names) - set(DATA_COLUMNS)):
            msg = f"Unknown column {unknown[0]!r} of a file: expected one of {', '.join(DATA_COLUMNS)}."
            raise InvalidExportError(msg)
