"""Completeness: check a delivered file against its export."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NoReturn

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.exceptions import DeliveryError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport, fold_name
from airflow_provider_cordial.trends.csv import IncompleteTrendsError, TrendsReader
from airflow_provider_cordial.trends.spool import Spool

OnMissing = Literal["fail", "warn", "ignore"]

_MAX_NAMED = 5

#: How a row of sums may be named.
_SUM_ROW = re.compile(r"(grand |sub)?(total|sum|all\b)", re.IGNORECASE)


class ForeignTrendsError(DeliveryError, AirflowFailException):
    """The file contains audiences or days that the export did not request: it belongs to another export."""


def spool_rows(reader: TrendsReader, export: AudienceTrendsExport) -> Spool:
    """Read the whole file, and keep its rows, with the audiences as they were requested.

    :raises ForeignTrendsError: it contains an audience or a day that was not requested.
    :raises IncompleteTrendsError: it is truncated.
    :raises TrendsCsvError: it cannot be read.
    """
    _reject_days(reader, export)
    requested = _spellings(export.audiences)
    spool = Spool(reader.days)
    try:
        for row in reader:
            audience = requested.get(row.audience) or requested.get(fold_name(row.audience))
            if audience is None:
                _reject_audience(export, row.audience)
            spool.add(audience, row.counts, row.blanks)
    except BaseException:
        spool.close()
        raise
    return spool


def _spellings(audiences: Sequence[str]) -> dict[str, str]:
    """Return the requested audiences by how a file may spell them."""
    folded = [fold_name(name) for name in audiences]
    times = Counter(folded)
    # Of names that differ in nothing else, only the exact ones are known.
    spellings = {fold: name for fold, name in zip(folded, audiences, strict=True) if times[fold] == 1}
    return spellings | {name: name for name in audiences}


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


def _reject_days(reader: TrendsReader, export: AudienceTrendsExport) -> None:
    for day in reader.days:
        if day not in export.timeframe:
            hint = "set CsvFormat(timezone=...) if its days are in another time zone" if reader.has_offsets else ""
            raise _foreign(export, f"day {str(day)!r}", hint)


def _reject_audience(export: AudienceTrendsExport, audience: str) -> NoReturn:
    is_sum = _SUM_ROW.match(fold_name(audience)) is not None
    hint = f"set CsvFormat(ignore_rows=({audience!r},)) if the row is not an audience" if is_sum else ""
    raise _foreign(export, f"audience {audience!r}", hint)


def _foreign(export: AudienceTrendsExport, what: str, hint: str) -> ForeignTrendsError:
    return ForeignTrendsError(
        f"The file contains {what}, which export {export.name!r} did not request"
        + (f": {hint}. Otherwise it " if hint else ": it ")
        + "belongs to another export. Export names that share a folder must not be prefixes of one another."
    )
