"""PostgreSQL: rows go in by COPY, loads of one table wait for each other, and what has not changed is not written."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.csv import AudienceRow
from airflow_provider_cordial.trends.tables.base import TrendsTable

_STAGED = "pg_temp.cordial_staged"

_TEXT_TYPES = ("text", "character varying")

#: The types for which COPY's binary format is written, which PostgreSQL reads faster; any others get text.
_BINARY_TYPES = {
    "audience": _TEXT_TYPES,
    "snapshot_date": ("date",),
    "contacts": ("bigint",),
    "job_id": _TEXT_TYPES,
    "loaded_at": ("timestamp without time zone",),
}

#: PostgreSQL counts from here.
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - a timestamp without time zone

_Encode = Callable[[Sequence[date], Iterable[AudienceRow], str, datetime, Sequence[str]], Iterator[bytes]]


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

    def replace(
        self,
        cursor: Any,
        audiences: Sequence[str],
        timeframe: Timeframe,
        days: Sequence[date],
        rows: Iterable[AudienceRow],
        *,
        job_id: str,
        loaded_at: datetime,
    ) -> int:
        self.lock(cursor)
        where, parameters = self._range(audiences, timeframe)
        cursor.execute(f"SELECT EXISTS (SELECT FROM {self.quoted} AS old WHERE {where})", parameters)  # noqa: S608
        (is_there,) = cursor.fetchone()
        if not is_there:
            return self.insert(cursor, days, rows, job_id=job_id, loaded_at=loaded_at)
        if not self._may_stage(cursor):
            self.delete(cursor, audiences, timeframe)
            return self.insert(cursor, days, rows, job_id=job_id, loaded_at=loaded_at)
        names = ", ".join(map(self.quote, self.columns.all))
        cursor.execute(
            f"CREATE TEMP TABLE cordial_staged ON COMMIT DROP AS SELECT {names} FROM {self.quoted} "  # noqa: S608
            "WITH NO DATA"
        )
        count = self._copy(cursor, _STAGED, days, rows, job_id, loaded_at)
        # The moment of the load alone makes no row another one.
        compared = [self.quote(name) for name in self.columns.all if name != self.columns["loaded_at"]]
        same = " AND ".join(f"new.{name} IS NOT DISTINCT FROM old.{name}" for name in compared[2:])
        key = " AND ".join(f"new.{name} = old.{name}" for name in compared[:2])
        cursor.execute(
            f"DELETE FROM {self.quoted} AS old WHERE {where} "  # noqa: S608
            f"AND NOT EXISTS (SELECT FROM {_STAGED} AS new WHERE {key} AND {same})",
            parameters,
        )
        what_stayed = ", ".join(compared[:2])
        cursor.execute(
            f"{self.insert_into} SELECT {names} FROM {_STAGED} ON CONFLICT ({what_stayed}) DO NOTHING"  # noqa: S608
        )
        return count

    def insert(
        self, cursor: Any, days: Sequence[date], rows: Iterable[AudienceRow], *, job_id: str, loaded_at: datetime
    ) -> int:
        return self._copy(cursor, self.quoted, days, rows, job_id, loaded_at)

    def _copy(
        self,
        cursor: Any,
        target: str,
        days: Sequence[date],
        rows: Iterable[AudienceRow],
        job_id: str,
        loaded_at: datetime,
    ) -> int:
        is_binary = self._has_binary_types(cursor)
        encode: _Encode = _binary if is_binary else _text
        blocks = encode(days, rows, job_id, loaded_at.replace(tzinfo=None), list(self.columns.constants.values()))
        columns = ", ".join(map(self.quote, self.columns.all))
        copy = f"COPY {target} ({columns}) FROM STDIN" + (" (FORMAT BINARY)" if is_binary else "")
        if hasattr(cursor, "copy"):  # psycopg 3
            with cursor.copy(copy) as stream:
                for block in blocks:
                    stream.write(block)
        else:
            cursor.copy_expert(copy, _Readable(blocks))
        return int(cursor.rowcount)

    def _range(self, audiences: Sequence[str], timeframe: Timeframe) -> tuple[str, list[Any]]:
        audience, day = (self.quote(self.columns[column]) for column in ("audience", "snapshot_date"))
        where = f"old.{day} BETWEEN %s AND %s AND old.{audience} = ANY(%s)"
        return where, [timeframe.start, timeframe.end, list(audiences)]

    def _has_binary_types(self, cursor: Any) -> bool:
        cursor.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0",
            [self.quoted],
        )
        found = dict(cursor.fetchall())
        expected = {self.columns[column]: types for column, types in _BINARY_TYPES.items()}
        expected |= dict.fromkeys(self.columns.constants, _TEXT_TYPES)
        return all(found.get(column) in types for column, types in expected.items())

    def _may_stage(self, cursor: Any) -> bool:
        """Tell whether the table keeps an audience's day once only, and a temporary table may be made."""
        cursor.execute(
            "SELECT has_database_privilege(current_database(), 'TEMP') AND EXISTS ("
            "SELECT FROM pg_index WHERE indrelid = %s::regclass AND indisunique AND indisvalid AND indpred IS NULL "
            "AND (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute "
            "WHERE attrelid = indrelid AND attnum = ANY(indkey)) = %s)",
            [self.quoted, sorted(self.columns[column] for column in ("audience", "snapshot_date"))],
        )
        (answer,) = cursor.fetchone()
        return bool(answer)


_NULL = r"\N"

#: What COPY's text format reads as something else than itself.
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _text(
    days: Sequence[date], rows: Iterable[AudienceRow], job_id: str, loaded_at: datetime, constants: Sequence[str]
) -> Iterator[bytes]:
    """Yield the rows in COPY's text format, a block an audience."""
    parts = [f"\t{day.isoformat()}\t" for day in days]
    # A column without time zone leaves the zone out.
    rest = [job_id, loaded_at.isoformat(timespec="seconds") + "+00", *constants]
    end = "".join(f"\t{text.translate(_ESCAPES)}" for text in rest) + "\n"
    for row in rows:
        audience = row.audience.translate(_ESCAPES)
        yield "".join(
            [
                f"{audience}{day}{_NULL if contacts is None else contacts}{end}"
                for day, contacts in zip(parts, row.contacts, strict=True)
            ]
        ).encode()


def _binary(
    days: Sequence[date], rows: Iterable[AudienceRow], job_id: str, loaded_at: datetime, constants: Sequence[str]
) -> Iterator[bytes]:
    """Yield the rows in COPY's binary format, a block an audience: each value after its length in bytes."""
    yield b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    columns = struct.pack(">h", len(_BINARY_TYPES) + len(constants))
    parts = [struct.pack(">ii", 4, (day - _EPOCH.date()).days) for day in days]
    moment = round((loaded_at - _EPOCH).total_seconds()) * 1_000_000
    end = _sized(job_id) + struct.pack(">iq", 8, moment) + b"".join(map(_sized, constants))
    size, null = struct.Struct(">iq").pack, struct.pack(">i", -1)
    for row in rows:
        start = columns + _sized(row.audience)
        yield b"".join(
            [
                start + day + (null if contacts is None else size(8, contacts)) + end
                for day, contacts in zip(parts, row.contacts, strict=True)
            ]
        )
    yield struct.pack(">h", -1)


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">i", len(encoded)) + encoded


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
