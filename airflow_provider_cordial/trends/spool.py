"""Spool: the checked rows of a file, kept until a warehouse takes them."""

from __future__ import annotations

import struct
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from datetime import date

from airflow_provider_cordial.trends.csv import BLANK, AudienceRow

#: Bytes that stay in memory; more go to a temporary file.
IN_MEMORY = 4 << 20

#: The length of the name in bytes, and the number of blanks.
_HEAD = struct.Struct("=ii")


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

    def add(self, audience: str, counts: array[int], blanks: int) -> None:
        """Keep a row.

        :param counts: in the order of the days; ``BLANK`` without a snapshot.
        :param blanks: how many of them are blank.
        """
        name = audience.encode()
        self._file.write(_HEAD.pack(len(name), blanks) + name + counts.tobytes())
        self.audiences.append(audience)
        self.blanks += blanks

    def __iter__(self) -> Iterator[AudienceRow]:
        self._file.seek(0)
        size = 8 * len(self.days)
        for _ in self.audiences:
            length, blanks = _HEAD.unpack(self._file.read(_HEAD.size))
            name = self._file.read(length).decode()
            counts = array("q", self._file.read(size))
            contacts: list[int | None] = [*counts]
            yield AudienceRow(name, [None if count == BLANK else count for count in contacts] if blanks else contacts)
