"""Completeness: check a delivered file against its export."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.exceptions import DeliveryError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.trends.csv import AudienceRow, TrendsReader

log = logging.getLogger(__name__)

OnMissing = Literal["fail", "warn", "ignore"]

_MAX_NAMED = 5


class IncompleteTrendsError(DeliveryError, AirflowFailException):
    """The file lacks audiences or days of the export, or has others."""


@dataclass(slots=True)
class Completeness:
    """Counts the rows as they pass, and reports at the end what is missing.

    :param export: what was requested.
    :param on_missing: what happens if an audience or a day is missing: ``fail``, ``warn``, or ``ignore``. A day is
        present if the file has its column; a blank cell in it is a snapshot that was not taken, and is loaded as NULL.
    """

    export: AudienceTrendsExport
    on_missing: OnMissing = "fail"
    audiences: set[str] = field(default_factory=set)
    blanks: int = 0

    def check(self, reader: TrendsReader) -> Iterator[AudienceRow]:
        """Yield the rows of the file.

        :raises IncompleteTrendsError: the file has an audience or a day that was not requested, which makes it the file
            of another export; or lacks one, with ``on_missing="fail"``.
        """
        self._reject_others("day", (day for day in reader.days if day not in self.export.timeframe))
        present = set(reader.days)
        self._report_missing("day", [day for day in self.export.timeframe if day not in present])
        requested = frozenset(self.export.audiences)
        for row in reader:
            if row.audience not in requested:
                self._reject_others("audience", [row.audience])
            self.audiences.add(row.audience)
            self.blanks += row.contacts.count(None)
            yield row
        self._report_missing("audience", [name for name in self.export.audiences if name not in self.audiences])

    def _reject_others(self, what: str, others: Iterable[object]) -> None:
        for other in others:
            msg = (
                f"The file contains {what} {str(other)!r}, which export {self.export.name!r} did not request: it "
                "belongs to another export. Export names that share a folder must not be prefixes of one another."
            )
            raise IncompleteTrendsError(msg)

    def _report_missing(self, what: str, missing: list[date] | list[str]) -> None:
        if not missing or self.on_missing == "ignore":
            return
        names = ", ".join(str(item) for item in missing[:_MAX_NAMED]) + (", ..." if len(missing) > _MAX_NAMED else "")
        msg = f"The file lacks {len(missing)} requested {what}{'s' if len(missing) > 1 else ''}: {names}."
        if self.on_missing == "fail":
            msg += ' Nothing was loaded; on_missing="warn" loads the rest.'
            raise IncompleteTrendsError(msg)
        log.warning(msg)
