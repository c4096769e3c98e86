"""Hold a delivered file against what was asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from airflow_provider_cordial.exceptions import IncompleteTrendsError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.trends.csv import AudienceRow, TrendsReader

log = logging.getLogger(__name__)

OnMissing = Literal["fail", "warn", "ignore"]

_NAMED = 5


@dataclass(slots=True)
class Completeness:
    """Counts while the rows go by, and says at the end what was asked for and did not come.

    :param export: what was asked for.
    :param on_missing: what an audience or a day that did not come is: ``fail``, ``warn`` or ``ignore``. A day is there
        if the file has its column; a blank cell in it is a snapshot that was not taken, and is loaded as NULL.
    """

    export: AudienceTrendsExport
    on_missing: OnMissing = "fail"
    audiences: set[str] = field(default_factory=set)
    blanks: int = 0

    def checked(self, reader: TrendsReader) -> Iterator[AudienceRow]:
        """Yield the rows of the file.

        :raises IncompleteTrendsError: the file has an audience or a day that was not asked for, which makes it the file
            of another export; or lacks one, with ``on_missing="fail"``.
        """
        self._refuse_other("day", (day for day in reader.days if day not in self.export.timeframe))
        came = set(reader.days)
        self._report_missing("day", [day for day in self.export.timeframe if day not in came])
        asked = frozenset(self.export.audiences)
        for row in reader:
            if row.audience not in asked:
                self._refuse_other("audience", [row.audience])
            self.audiences.add(row.audience)
            self.blanks += row.contacts.count(None)
            yield row
        self._report_missing("audience", [name for name in self.export.audiences if name not in self.audiences])

    def _refuse_other(self, what: str, others: Iterable[object]) -> None:
        for other in others:
            msg = (
                f"The file holds {what} {str(other)!r}, which export {self.export.name!r} did not ask for. It is the "
                "file of another export: give exports that share a folder names of which none begins with another."
            )
            raise IncompleteTrendsError(msg)

    def _report_missing(self, what: str, missing: list[date] | list[str]) -> None:
        if not missing or self.on_missing == "ignore":
            return
        names = ", ".join(str(item) for item in missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        msg = f"{len(missing)} {what}(s) that were asked for are not in the file: {names}."
        if self.on_missing == "fail":
            msg += ' Nothing was loaded; on_missing="warn" loads the rest.'
            raise IncompleteTrendsError(msg)
        log.warning(msg)
