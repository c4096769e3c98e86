"""PostgresTable: COPY, concurrent loads of one table wait for each other, and unchanged rows are not written."""

from __future__ import annotations

import io
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables.generic import DbApiTable
from airflow_provider_cordial.trends.tables.staged import STAGED_COLUMNS, StagedTable

#: With fewer rows PostgreSQL plans well without statistics.
_ANALYZED = 1000

_TEXT_TYPES = ("text", "character varying")

#: The types for which COPY's binary format is used, which PostgreSQL reads faster; all others use text.
_BINARY_TYPES = {
    "audience": _TEXT_TYPES,
    "snapshot_date": ("date",),
    "contacts": ("bigint",),
    "job_id": _TEXT_TYPES,
    "loaded_at": ("timestamp without time zone",),
}

#: PostgreSQL counts from this moment.
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - a timestamp without time zone

_Encode = Callable[[TrendsBatch, Sequence[str]], Iterator[bytes]]


class PostgresTable(StagedTable):
    """The table in PostgreSQL; also a view that PostgreSQL can write through."""

    audiences_per_statement = sys.maxsize
    transient = ("08", "40", "53", "55P03", "57P", "OperationalError", "InterfaceError")
    staged = "pg_temp.cordial_staged"
    changed = "pg_temp.cordial_changed"
    temporary_options = " ON COMMIT DROP"

    def create(self, cursor: Any) -> None:
        # Two sessions that create the same table at once would both try.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self.name])
        super().create(cursor)

    def lock(self, cursor: Any) -> None:
        # Two loads of the same days would each delete the rows that they see, and then both insert. Readers continue.
        cursor.execute(f"LOCK TABLE {self.quoted} IN SHARE ROW EXCLUSIVE MODE")

    def check(self, cursor: Any) -> None:
        super().check(cursor)
        cursor.execute(
            "SELECT relkind IN ('r', 'p') AND NOT row_security_active(oid), "
            "has_database_privilege(current_database(), 'TEMP'), "
            "ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = oid AND attnum > 0 ORDER BY attnum), "
            "ARRAY(SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = oid AND attnum > 0 "
            "ORDER BY attnum) FROM pg_class WHERE oid = %s::regclass",
            [self.quoted],
        )
        ((self._can_copy, self._can_stage, names, types),) = cursor.fetchall()
        found = dict(zip(names, types, strict=True))
        expected = {self.columns[column]: types for column, types in _BINARY_TYPES.items()}
        expected |= dict.fromkeys(self.columns.shared, _TEXT_TYPES)
        self._is_binary = all(found.get(column) in types for column, types in expected.items())

    def unique_keys(self, cursor: Any) -> Iterable[list[str]]:
        # What an expression or a condition of an index refers to is only known as its dependencies.
        cursor.execute(
            "SELECT ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = indrelid AND attnum > 0 AND "
            "(attnum = ANY((indkey::int2[])[0:indnkeyatts - 1]) OR (indexprs IS NOT NULL OR indpred IS NOT NULL) "
            "AND attnum <> ALL((indkey::int2[])[indnkeyatts:indnatts]) AND attnum IN (SELECT refobjsubid "
            "FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = indexrelid AND refobjid = indrelid)) "
            "ORDER BY attnum) FROM pg_index WHERE indrelid = %s::regclass AND indisunique",
            [self.quoted],
        )
        return [names for (names,) in cursor.fetchall()]

    def append(self, cursor: Any, batch: TrendsBatch) -> LoadResult:
        # COPY writes neither through a view nor where policies for rows apply.
        if self._can_copy:
            return super().append(cursor, batch)
        if not self.stage(cursor, batch):
            return DbApiTable.replace(self, cursor, batch)
        if self.insert_staged(cursor, batch, self.staged) != batch.cells:
            self.verify(cursor, batch.days, batch.audiences)
        return LoadResult.of_new(batch)

    def stage(self, cursor: Any, batch: TrendsBatch) -> bool:
        if not self._can_stage:
            return False
        super().stage(cursor, batch)
        if batch.cells > _ANALYZED:
            cursor.execute(f"ANALYZE {self.staged}")
        return True

    def fill(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:
        encode: _Encode = _binary if self._is_binary else _text
        blocks = encode(batch, self.shared_values(batch) if whole else [])
        columns = ", ".join(map(self.quote, self.columns.of_table[: None if whole else STAGED_COLUMNS]))
        copy = f"COPY {target} ({columns}) FROM STDIN" + (" (FORMAT BINARY)" if self._is_binary else "")
        if hasattr(cursor, "copy"):  # psycopg 3
            with cursor.copy(copy) as stream:
                for block in blocks:
                    stream.write(block)
        else:
            cursor.copy_expert(copy, _Readable(blocks))
        return int(cursor.rowcount)

    def is_one_of(self, column: str, audiences: Sequence[str]) -> tuple[str, list[Any]]:
        return f"{column} = ANY(%s)", [list(audiences)]

    def bytes_of(self, column: str) -> str:
        return f'{column}::text COLLATE "C"'

    def parameter(self, value: date) -> str:
        # As text, which PostgreSQL converts to the column's type: a day may be kept as text, and a column without a
        # time zone ignores the zone.
        if not isinstance(value, datetime):
            return value.isoformat()
        return value.replace(tzinfo=None).isoformat(timespec="seconds") + "+00"


_NULL = r"\N"

#: The characters that are special in COPY's text format.
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _text(batch: TrendsBatch, shared: Sequence[str]) -> Iterator[bytes]:
    """Yield the rows in COPY's text format, a block per audience."""
    parts = [f"\t{day.isoformat()}\t" for day in batch.days]
    end = "".join(f"\t{text.translate(_ESCAPES)}" for text in shared) + "\n"
    for row in batch.rows:
        audience = row.audience.translate(_ESCAPES)
        yield "".join(
            [
                f"{audience}{day}{_NULL if contacts is None else contacts}{end}"
                for day, contacts in zip(parts, row.contacts, strict=True)
            ]
        ).encode()


def _binary(batch: TrendsBatch, shared: Sequence[str]) -> Iterator[bytes]:
    """Yield the rows in COPY's binary format, a block per audience: each value after its length in bytes."""
    yield b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    columns = struct.pack(">h", STAGED_COLUMNS + len(shared))
    days = [(day - _EPOCH.date()).days for day in batch.days]
    end = b""
    if shared:
        job_id, _, *texts = shared
        moment = round((batch.loaded_at.replace(tzinfo=None) - _EPOCH).total_seconds()) * 1_000_000
        end = _sized(job_id) + struct.pack(">iq", 8, moment) + b"".join(map(_sized, texts))
    each_day = list(_bytes_by_place(array("i", days)))
    day_and_size, day_and_null = struct.Struct(">iiiq").pack, struct.Struct(">iii").pack
    for row in batch.rows:
        start = columns + _sized(row.audience)
        if None in row.contacts:
            cells = [
                day_and_null(4, day, -1) if contacts is None else day_and_size(4, day, 8, contacts)
                for day, contacts in zip(days, row.contacts, strict=True)
            ]
            # Between two cells everything is the same for an audience.
            yield start + (end + start).join(cells) + end
            continue
        # All rows have the same length: each byte of a number is put into all of them at once.
        empty = start + day_and_size(4, 0, 8, 0) + end
        block = bytearray(empty * len(days))
        place = len(start) + 4
        for offset, some in enumerate(each_day, place):
            block[offset :: len(empty)] = some
        for offset, some in enumerate(_bytes_by_place(array("q", row.contacts)), place + 8):  # type: ignore[arg-type]
            block[offset :: len(empty)] = some
        yield bytes(block)
    yield struct.pack(">h", -1)


def _bytes_by_place(numbers: array[int]) -> Iterator[bytes]:
    """Yield the first byte of each number, then the second of each, most significant first."""
    if sys.byteorder == "little":
        numbers.byteswap()
    data = numbers.tobytes()
    for place in range(numbers.itemsize):
        yield data[place :: numbers.itemsize]


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">i", len(encoded)) + encoded


class _Readable(io.RawIOBase):
    """Blocks as the file that psycopg 2 reads from."""

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
