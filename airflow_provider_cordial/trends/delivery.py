"""What every load starts with: the delivered file of an export, found, read, checked, and kept locally."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from airflow_provider_cordial.client import traces
from airflow_provider_cordial.destinations import DeliveredFile, FileWait, read_delivered_file
from airflow_provider_cordial.exceptions import IncompleteFileError, InvalidExportError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import SubmittedExport
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.batch import LoadResult, OnBlank, TrendsBatch
from airflow_provider_cordial.trends.completeness import OnMissing, find_missing, spool_rows
from airflow_provider_cordial.trends.csv import CsvFormat, IncompleteTrendsError, TrendsReader
from airflow_provider_cordial.trends.reconcile import Difference, find_differences
from airflow_provider_cordial.trends.spool import Spool
from airflow_provider_cordial.trends.tables.base import TrendsTable
from airflow_provider_cordial.trends.unpack import unpacked

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveredTrends:
    """An export, and the checked rows of its delivered file. The destination is not needed any more.

    :param path: of the file at its destination.
    :param incomplete: what the file lacks of the export; None if it lacks nothing.
    :param uri: of the folder that the export is delivered to.
    """

    export: AudienceTrendsExport
    job_id: str
    path: str
    spool: Spool
    incomplete: IncompleteFileError | None = None
    uri: str = ""

    def close(self) -> None:
        """Remove the rows."""
        self.spool.close()

    def batch(
        self,
        loaded_at: datetime,
        *,
        on_blank: OnBlank = "keep",
        corrections: bool = False,
        max_change: float | None = None,
    ) -> TrendsBatch:
        """Return what a table loads."""
        return TrendsBatch(
            audiences=tuple(self.spool.audiences),
            days=self.spool.days,
            rows=self.spool,
            blanks=self.spool.blanks,
            job_id=self.job_id,
            loaded_at=loaded_at,
            on_blank=on_blank,
            corrections=corrections,
            max_change=max_change,
        )

    def differences(self, table: TrendsTable) -> Iterator[Difference]:
        """Yield the cells in which a table differs from the file.

        :raises TableError: the table cannot be read.
        """
        days = self.spool.days
        timeframe = Timeframe(min(days), max(days)) if days else self.export.timeframe
        return find_differences(self.spool, days, lambda audiences: table.cells(audiences, timeframe))

    def counts(self, result: LoadResult | int) -> dict[str, Any]:
        """Return the result of a load as JSON.

        :param result: that of the table, or only the number of rows.
        """
        return {
            **(result.to_json() if isinstance(result, LoadResult) else {"rows": result}),
            "audiences": len(self.spool.audiences),
            "days": len(self.spool.days),
            "missing": self.spool.blanks,
            "file": self.path,
        }


@contextmanager
def open_delivered_trends(
    record: Any,
    *,
    path: str | None = None,
    on_missing: OnMissing = "fail",
    csv_format: CsvFormat | None = None,
    file_wait: FileWait | None = None,
    parts: bool = False,
) -> Iterator[DeliveredTrends]:
    """Wait for the file of an export, and read and check all of it: nothing is loaded from a file with an error.

    :param record: the output of the export operator.
    :param path: the file's exact path, if the author knows it.
    :param parts: read numbered files as one.
    :raises CordialError: see ``read_delivered_file``, ``TrendsReader``, and ``spool_rows``.
    """
    submitted = SubmittedExport.from_json(record)
    export = submitted.export
    if not isinstance(export, AudienceTrendsExport):
        msg = f"Invalid export of kind {export.kind!r}: only Audience Trends exports can be loaded as trends."
        raise InvalidExportError(msg)
    zone = ZoneInfo(export.timezone) if export.timezone else None
    final_newline = (csv_format or CsvFormat()).final_newline

    def read(file: DeliveredFile, stream: BinaryIO) -> DeliveredTrends:
        with unpacked(stream) as text:
            reader = TrendsReader(text, csv_format, timezone=zone)
            spool = spool_rows(reader, export)
        incomplete = find_missing(spool, export)
        may_be_accepted = on_missing != "fail"
        if final_newline and not reader.is_ended:
            # The last number may be cut off. But some writers never end the last line, and nothing else is missing.
            may_be_accepted = incomplete is None
            msg = f"The last line of the file has no newline. {incomplete or ''}".rstrip()
            incomplete = IncompleteTrendsError(msg)
        if incomplete and not may_be_accepted:
            spool.close()
            raise incomplete
        return DeliveredTrends(export, submitted.job_id, file.path, spool, incomplete, submitted.uri)

    with traces.span("read", export=export.name, job_id=submitted.job_id):
        trends = read_delivered_file(
            export.destination,
            export.name,
            read,
            not_before=submitted.submitted_at,
            has_unique_name=submitted.has_unique_name,
            path=path,
            file_wait=file_wait or FileWait(),
            accepts_incomplete=True,
            parts=parts,
        )
    with closing(trends):
        if trends.incomplete and find_missing(trends.spool, export) is None:
            hint = "Loading the file, which did not change; CsvFormat(final_newline=False) does so without the wait"
            log.warning("%s %s", trends.incomplete, hint)
        elif trends.incomplete and on_missing == "warn":
            log.warning("%s Loading the rest", trends.incomplete)
        yield trends
