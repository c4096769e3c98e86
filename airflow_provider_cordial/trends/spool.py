"""Spool: the checked rows of a file, kept until a warehouse takes them."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from datetime import date

from airflow_provider_cordial.trends.csv import AudienceRow

#: Bytes that stay in memory; more go to a temporary file.
IN_MEMORY = 4 << 20

#: A count is never negative.
_BLANK = -1

_LENGTH = 4


class Spool:
    """Rows of audiences on the local disk, or in memory if they are few; ``close`` removes them.

    A warehouse can take them more than once, and at its own speed: no transaction waits for a slow server.

    :param days: the days of ``AudienceRow.contacts``, in their order.
    """

    def __init__(self, days: Sequence[date]) -> None:
        self.days = tuple(days)
        self.audiences: list[str] = []
        #: Cells without a number.
        self.blanks = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, prefix="cordial-")  # noqa: SIM115 - closed by close()

    def close(self) -> None:
        """Remove the rows."""
        self._file.close()

    @property
    def cells(self) -> int:
        """How many rows the long form has: one per audience and day."""
        return len(self.audiences) * len(self.days)

    def add(self, row: AudienceRow) -> None:
        """Keep a row."""
        name = row.audience.encode()
        counts = array("q", [_BLANK if count is None else count for count in row.contacts])
        self._file.write(len(name).to_bytes(_LENGTH, "big") + name + counts.tobytes())
        self.audiences.append(row.audience)
        self.blanks += row.contacts.count(None)

    def __iter__(self) -> Iterator[AudienceRow]:
        self._file.seek(0)
        size = 8 * len(self.days)
        for _ in self.audiences:
            name = self._file.read(int.from_bytes(self._file.read(_LENGTH), "big")).decode()
            counts = array("q")
            counts.frombytes(self._file.read(size))
            yield AudienceRow(name, [None if count == _BLANK else count for count in counts])
