"""PostgreSQL: rows go in by COPY, and loads of the same table one after the other."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from airflow_provider_cordial.trends_csv import AudienceRow
from airflow_provider_cordial.warehouse.table import TrendsTable

_NULL = r"\N"

#: What COPY's text format reads as something else than itself.
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresTable(TrendsTable):
    """The table in PostgreSQL."""

    def create(self, cursor: Any) -> None:
        # Two sessions that make the same table at once would both try.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self.name])
        TrendsTable.create(self, cursor)

    def lock(self, cursor: Any) -> None:
        # Two loads of the same days would each delete what it sees, and then both insert. Readers go on.
        cursor.execute(f"LOCK TABLE {self.quoted} IN SHARE ROW EXCLUSIVE MODE")

    def insert(
        self, cursor: Any, days: Sequence[date], rows: Iterable[AudienceRow], *, job_id: str, loaded_at: datetime
    ) -> int:
        columns = ", ".join(map(self.quote, self.columns.all))
        copy = f"COPY {self.quoted} ({columns}) FROM STDIN"
        text = _CopyText(
            days,
            rows,
            [job_id, loaded_at.replace(tzinfo=None).isoformat(timespec="seconds"), *self.columns.constants.values()],
        )
        if hasattr(cursor, "copy"):  # psycopg 3
            with cursor.copy(copy) as stream:
                for block in text:
                    stream.write(block)
        else:
            cursor.copy_expert(copy, _Readable(text))
        return text.rows


class _CopyText:
    """The rows in COPY's text format, a block an audience."""

    def __init__(self, days: Sequence[date], rows: Iterable[AudienceRow], constants: Sequence[str]) -> None:
        self._days = [f"\t{day.isoformat()}\t" for day in days]
        self._source = rows
        self._end = "".join(f"\t{text.translate(_ESCAPES)}" for text in constants) + "\n"
        self.rows = 0

    def __iter__(self) -> Iterator[bytes]:
        end = self._end
        for row in self._source:
            audience = row.audience.translate(_ESCAPES)
            self.rows += len(row.contacts)
            yield "".join(
                [
                    f"{audience}{day}{_NULL if contacts is None else contacts}{end}"
                    for day, contacts in zip(self._days, row.contacts, strict=True)
                ]
            ).encode()


class _Readable(io.RawIOBase):
    """Blocks as a file, which psycopg 2 reads from."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            block = next(self._blocks, None)
            if block is None:
                break
            self._rest += block
        end = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:end], self._rest[end:]
        return data
