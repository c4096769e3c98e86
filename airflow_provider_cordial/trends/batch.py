"""TrendsBatch: what one load brings into a table. LoadResult: what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from airflow_provider_cordial.trends.csv import AudienceRow

#: What happens to a known number whose cell in the file is blank.
OnBlank = Literal["keep", "replace"]

#: The fields of ``LoadResult`` that count cells.
_COUNTS = ("new", "same", "corrected", "blank", "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendsBatch:
    """The checked rows of one file, and what they replace: these audiences on these days, and nothing else.

    :param audiences: that the file contains.
    :param days: that the file contains: the days of ``AudienceRow.contacts``, in their order.
    :param rows: one per audience; they can be iterated again.
    :param blanks: how many cells have no number.
    :param job_id: of the export.
    :param loaded_at: the moment of the load.
    :param on_blank: ``keep`` a number that the table has where the file is blank, or ``replace`` it.
    :param corrections: record each known number that changes in the corrections table.
    :param max_change: the largest share of the known contacts that the load may change, 0.5 for 50%.
    """

    audiences: tuple[str, ...]
    days: tuple[date, ...]
    rows: Iterable[AudienceRow]
    blanks: int
    job_id: str
    loaded_at: datetime
    on_blank: OnBlank = "keep"
    corrections: bool = False
    max_change: float | None = None

    @property
    def cells(self) -> int:
        """How many rows of a table the batch has: one per audience and day."""
        return len(self.audiences) * len(self.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What a load did with the cells of its file; each cell counts once.

    :param new: a number where the table had none.
    :param same: the number that the table had.
    :param corrected: another number than the table had.
    :param blank: no number, in the file and now in the table.
    :param kept: no number, but the table had one, and still has it.
    :param change: the share of the known contacts that changed; None if the load had no ``max_change``.
    """

    new: int = 0
    same: int = 0
    corrected: int = 0
    blank: int = 0
    kept: int = 0
    change: float | None = None

    @classmethod
    def of_new(cls, batch: TrendsBatch) -> LoadResult:
        """Return the result of a batch of which the table had nothing."""
        change = None if batch.max_change is None else 0.0
        return cls(new=batch.cells - batch.blanks, blank=batch.blanks, change=change)

    @classmethod
    def of_counts(cls, counts: Mapping[str, int], on_blank: OnBlank) -> LoadResult:
        """Return the result of a comparison with the table.

        :param counts: the fields, and under ``lost`` the blanks where the table has a number.
        """
        lost = counts["lost"]
        kept, replaced = (lost, 0) if on_blank == "keep" else (0, lost)
        known = {name: counts[name] for name in ("new", "same", "corrected")}
        return cls(**known, blank=counts["blank"] + replaced, kept=kept)

    def __add__(self, other: LoadResult) -> LoadResult:
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in _COUNTS})

    @property
    def rows(self) -> int:
        """How many rows the table now has of the file's audiences and days."""
        return sum(getattr(self, name) for name in _COUNTS)

    def to_json(self) -> dict[str, float]:
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"rows": self.rows, **counts, **({} if self.change is None else {"change": self.change})}
