"""What every load begins with: the delivered file of an export, found, open, and checked while it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_provider_cordial.destinations.finder import FileWait, delivered_file
from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import parse_submission
from airflow_provider_cordial.trends.completeness import Completeness, OnMissing
from airflow_provider_cordial.trends.csv import AudienceRow, CsvFormat, TrendsReader


@dataclass(frozen=True, slots=True)
class DeliveredTrends:
    """An export and its delivered file.

    :param path: where the file is at its destination.
    """

    export: AudienceTrendsExport
    job_id: str
    path: str
    reader: TrendsReader
    check: Completeness

    def rows(self) -> Iterator[AudienceRow]:
        """Yield the rows of the file, each held against what was asked for."""
        return self.check.checked(self.reader)

    def counts(self, rows: int) -> dict[str, Any]:
        """Return what a load reports of itself, when all rows are read."""
        return {
            "rows": rows,
            "audiences": len(self.check.audiences),
            "days": len(self.reader.days),
            "missing": self.check.blanks,
            "file": self.path,
        }


@contextmanager
def delivered_trends(
    record: Any, *, path: str | None, on_missing: OnMissing, csv_format: CsvFormat | None, file_wait: FileWait | None
) -> Iterator[DeliveredTrends]:
    """Wait for the file of an export, and open it.

    :param record: what the export operator pushes.
    :param path: the file's exact path, where the author knows it.
    :raises CordialError: see ``delivered_file`` and ``TrendsReader``.
    """
    if not isinstance(record, Mapping):
        msg = f'export {record!r} is no export. Pass export.output["export"] of an export operator.'
        raise InvalidExportError(msg)
    export = AudienceTrendsExport.from_json(record)
    job_id, submitted_at = parse_submission(record)
    delivered = delivered_file(
        export.destination, export.name, not_before=submitted_at, path=path, file_wait=file_wait or FileWait()
    )
    with delivered as (file, stream):
        reader = TrendsReader(stream, csv_format)
        yield DeliveredTrends(export, job_id, file.path, reader, Completeness(export, on_missing))
