"""AudienceTrendsToFileOperator: turn the delivered wide CSV into long files, for a warehouse's own load."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_cordial.assets import tell
from airflow_provider_cordial.exceptions import InvalidExportError

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_cordial.destinations.finder import FileWait
    from airflow_provider_cordial.trends.completeness import OnMissing
    from airflow_provider_cordial.trends.csv import CsvFormat
    from airflow_provider_cordial.trends.files import FileFormat

FORMATS = ("csv", "parquet")


class AudienceTrendsToFileOperator(BaseOperator):
    """Write the long rows of an Audience Trends export as CSV or Parquet to anything that ObjectStoragePath reaches.

    The whole export is checked before the first file is written. Written again, the files have the same names and hold
    the same rows: a retry or a clear replaces them. So give each task a path of its own.

    Events on its outlets tell ``days``, ``audiences``, ``rows``, ``missing``, ``job_id``, ``path`` and ``files``; for
    the keys of partitions see ``assets.tell``.

    :param export: ``export.output["export"]`` of the export operator (templated).
    :param path: the folder: a local path, or a URL such as ``s3://bucket/trends`` (templated).
    :param path_conn_id: the Airflow connection of the URL, where it does not name one itself (templated).
    :param file_format: ``csv``, or ``parquet``, which needs the package pyarrow.
    :param partition_by_day: write ``snapshot_date=<day>/<file_name>`` for each day, and otherwise one file,
        ``<file_name>-<first day>-<last day>``.
    :param file_name: without its extension (templated).
    :param constants: further columns, and the text that each has in all rows (templated).
    :param source_path: the delivered file's exact path, where it is not named after the export (templated).
    :param on_missing: what an audience or a day that was asked for and did not come is: ``fail``, ``warn``, ``ignore``.
    :param csv_format: how the delivered file is written.
    :param file_wait: how long to wait for it.
    :returns: the counts ``rows``, ``audiences``, ``days``, ``missing``, the delivered ``file``, and how many ``files``
        were written to which ``path``.
    :raises DeliveredFileNotFoundError: no such file came in time; a retry looks again.
    :raises TrendsCsvError: the file cannot be understood.
    :raises IncompleteTrendsError: the file is not what was asked for.
    """

    template_fields: Sequence[str] = ("export", "path", "path_conn_id", "file_name", "constants", "source_path")
    ui_color = "#f0ead5"

    def __init__(
        self,
        *,
        export: Any,
        path: str,
        path_conn_id: str | None = None,
        file_format: FileFormat = "csv",
        partition_by_day: bool = True,
        file_name: str = "audience_trends",
        constants: Mapping[str, str] | None = None,
        source_path: str | None = None,
        on_missing: OnMissing = "fail",
        csv_format: CsvFormat | None = None,
        file_wait: FileWait | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export = export
        self.path = path
        self.path_conn_id = path_conn_id
        self.file_format = file_format
        self.partition_by_day = partition_by_day
        self.file_name = file_name
        self.constants = constants or {}
        self.source_path = source_path
        self.on_missing = on_missing
        self.csv_format = csv_format
        self.file_wait = file_wait

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the file, wait until it is whole, and write it anew."""
        from airflow.sdk import ObjectStoragePath

        from airflow_provider_cordial.trends.delivery import delivered_trends

        # Only here: a DAG file that loads is parsed faster so.
        from airflow_provider_cordial.trends.files import to_parquet, write_long_csv

        self._check()
        with tempfile.TemporaryDirectory(prefix="cordial-") as folder:
            with delivered_trends(
                self.export,
                path=self.source_path,
                on_missing=self.on_missing,
                csv_format=self.csv_format,
                file_wait=self.file_wait,
            ) as trends:
                rows, files = write_long_csv(
                    Path(folder),
                    trends.reader.days,
                    trends.rows(),
                    constants=self.constants,
                    by_day=self.partition_by_day,
                )
            timeframe = trends.export.timeframe
            target = ObjectStoragePath(self.path, conn_id=self.path_conn_id)
            for day, path in files.items():
                ready = to_parquet(path) if self.file_format == "parquet" else path
                name = self.file_name if day else f"{self.file_name}-{timeframe.start}-{timeframe.end}"
                place = target / f"snapshot_date={day}" if day else target
                _publish(ready, place / f"{name}{ready.suffix}")
        self.log.info("Wrote %d rows of %s in %d files to %s", rows, timeframe, len(files), self.path)
        counts = {**trends.counts(rows), "files": len(files), "path": self.path}
        tell(
            context,
            self.outlets,
            asset_uri=None,
            audiences=trends.export.audiences,
            timeframe=timeframe,
            extra={key: counts[key] for key in ("rows", "missing", "path", "files")} | {"job_id": trends.job_id},
        )
        return counts

    def _check(self) -> None:
        if self.file_format not in FORMATS:
            msg = f"file_format {self.file_format!r} is none that can be written. Use {' or '.join(FORMATS)}."
            raise InvalidExportError(msg)
        if not self.file_name or "/" in self.file_name:
            msg = f"file_name {self.file_name!r} is no file's name. Give a name without slashes and extension."
            raise InvalidExportError(msg)
        if taken := {"audience", "snapshot_date", "contacts"} & set(self.constants):
            msg = f"constants names {min(taken)!r}, which is a column already. Choose another name."
            raise InvalidExportError(msg)


def _publish(local: Path, target: ObjectStoragePath) -> None:
    """Copy a file to its place, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # An object is there when it is whole; a file would be seen while it grows.
    is_file = target.protocol in ("file", "local", "sftp", "ssh")
    unfinished = target.parent / f".{target.name}.part" if is_file else target
    with local.open("rb") as source, unfinished.open("wb") as sink:  # type: ignore[no-untyped-call]
        shutil.copyfileobj(source, sink, 1 << 20)
    if is_file:
        unfinished.replace(target)
