"""Completeness: check a delivered file against its export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.exceptions import DeliveryError, IncompleteFileError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.trends.csv import TrendsReader
from airflow_provider_cordial.trends.spool import Spool

OnMissing = Literal["fail", "warn", "ignore"]

_MAX_NAMED = 5


class IncompleteTrendsError(IncompleteFileError):
    """The file lacks audiences or days of the export; a retry reads it again."""


class ForeignTrendsError(DeliveryError, AirflowFailException):
    """The file contains audiences or days that the export did not request: it belongs to another export."""


def spool_rows(reader: TrendsReader, export: AudienceTrendsExport) -> Spool:
    """Read the whole file, and keep its rows.

    :raises ForeignTrendsError: it contains an audience or a day that was not requested.
    :raises TrendsCsvError: it cannot be read.
    """
    _reject_others(export, "day", (day for day in reader.days if day not in export.timeframe))
    spool = Spool(reader.days)
    requested = frozenset(export.audiences)
    try:
        for row in reader:
            if row.audience not in requested:
                _reject_others(export, "audience", [row.audience])
            spool.add(row)
    except BaseException:
        spool.close()
        raise
    return spool


def find_missing(spool: Spool, export: AudienceTrendsExport) -> IncompleteTrendsError | None:
    """Return what the file lacks of the export, as an error; None if it lacks nothing.

    A day is present if the file has its column; a blank cell in it is a snapshot that was not taken.
    """
    days, audiences = frozenset(spool.days), frozenset(spool.audiences)
    missing = [
        *_describe_missing("day", [day for day in export.timeframe if day not in days]),
        *_describe_missing("audience", [name for name in export.audiences if name not in audiences]),
    ]
    return IncompleteTrendsError(f"The file lacks {' and '.join(missing)}.") if missing else None


def _describe_missing(what: str, missing: Sequence[object]) -> list[str]:
    if not missing:
        return []
    names = ", ".join(str(item) for item in missing[:_MAX_NAMED]) + (", ..." if len(missing) > _MAX_NAMED else "")
    return [f"{len(missing)} requested {what}{'s' if len(missing) > 1 else ''}: {names}"]


def _reject_others(export: AudienceTrendsExport, what: str, others: Iterable[object]) -> None:
    for other in others:
        msg = (
            f"The file contains {what} {str(other)!r}, which export {export.name!r} did not request: it "
            "belongs to another export. Export names that share a folder must not be prefixes of one another."
        )
        raise ForeignTrendsError(msg)
