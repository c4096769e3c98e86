"""What every load starts with: the delivered file of an export, found, open, and checked while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_cordial.destinations import FileWait, open_delivered_file
from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import SubmittedExport
from airflow_provider_cordial.trends.batch import TrendsBatch
from airflow_provider_cordial.trends.completeness import Completeness, OnMissing
from airflow_provider_cordial.trends.csv import AudienceRow, CsvFormat, TrendsReader


@dataclass(frozen=True, slots=True)
class DeliveredTrends:
    """An export and its delivered file.

    :param path: of the file at its destination.
    """

    export: AudienceTrendsExport
    job_id: str
    path: str
    reader: TrendsReader
    completeness: Completeness

    def rows(self) -> Iterator[AudienceRow]:
        """Yield the rows of the file, each checked against the export."""
        return self.completeness.check(self.reader)

    def batch(self, loaded_at: datetime) -> TrendsBatch:
        """Return what a table loads."""
        return TrendsBatch(
            audiences=self.export.audiences,
            timeframe=self.export.timeframe,
            days=tuple(self.reader.days),
            rows=self.rows(),
            job_id=self.job_id,
            loaded_at=loaded_at,
        )

    def counts(self, rows: int) -> dict[str, Any]:
        """Return the result of a load once all rows are read.

        :param rows: how many the load has written.
        """
        return {
            "rows": rows,
            "audiences": len(self.completeness.audiences),
            "days": len(self.reader.days),
            "missing": self.completeness.blanks,
            "file": self.path,
        }


@contextmanager
def open_delivered_trends(
    record: Any, *, path: str | None, on_missing: OnMissing, csv_format: CsvFormat | None, file_wait: FileWait | None
) -> Iterator[DeliveredTrends]:
    """Wait for the file of an export, and open it.

    :param record: the output of the export operator.
    :param path: the file's exact path, if the author knows it.
    :raises CordialError: see ``open_delivered_file`` and ``TrendsReader``.
    """
    submitted = SubmittedExport.from_json(record)
    export = submitted.export
    if not isinstance(export, AudienceTrendsExport):
        msg = f"Invalid export of kind {export.kind!r}: only Audience Trends exports can be loaded as trends."
        raise InvalidExportError(msg)
    delivered = open_delivered_file(
        export.destination,
        export.name,
        not_before=submitted.submitted_at,
        path=path,
        file_wait=file_wait or FileWait(),
    )
    with delivered as (file, stream):
        reader = TrendsReader(stream, csv_format)
        yield DeliveredTrends(export, submitted.job_id, file.path, reader, Completeness(export, on_missing))
