"""TrendsBatch: what one load brings into a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from airflow_provider_cordial.trends.csv import AudienceRow


@dataclass(frozen=True, slots=True)
class TrendsBatch:
    """The checked rows of one file, and what they replace: these audiences on these days, and nothing else.

    :param audiences: that the file contains.
    :param days: that the file contains: the days of ``AudienceRow.contacts``, in their order.
    :param rows: one per audience; they can be iterated again.
    :param job_id: of the export.
    :param loaded_at: the moment of the load.
    """

    audiences: tuple[str, ...]
    days: tuple[date, ...]
    rows: Iterable[AudienceRow]
    job_id: str
    loaded_at: datetime
