"""PostgresTable: COPY, concurrent loads of one table wait for each other, and unchanged rows are not written."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from airflow_provider_cordial.trends.batch import TrendsBatch
from airflow_provider_cordial.trends.tables.generic import DbApiTable, day_ranges

_STAGED = "pg_temp.cordial_staged"

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


class PostgresTable(DbApiTable):
    """The table in PostgreSQL."""

    def create(self, cursor: Any) -> None:
        # Two sessions that create the same table at once would both try.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self.name])
        super().create(cursor)

    def lock(self, cursor: Any) -> None:
        # Two loads of the same days would each delete the rows that they see, and then both insert. Readers continue.
        cursor.execute(f"LOCK TABLE {self.quoted} IN SHARE ROW EXCLUSIVE MODE")

    def replace(self, cursor: Any, batch: TrendsBatch) -> int:
        self.lock(cursor)
        where, parameters = self._range(batch)
        cursor.execute(f"SELECT EXISTS (SELECT FROM {self.quoted} AS old WHERE {where})", parameters)  # noqa: S608
        (has_rows,) = cursor.fetchone()
        if not has_rows:
            return self.insert(cursor, batch)
        if not self._can_stage(cursor):
            self.delete(cursor, batch)
            return self.insert(cursor, batch)
        return self._replace_changed(cursor, batch, where, parameters)

    def _replace_changed(self, cursor: Any, batch: TrendsBatch, where: str, parameters: list[Any]) -> int:
        """Stage the rows, delete those that differ, and insert the missing ones."""
        names = ", ".join(map(self.quote, self.columns.of_table))
        cursor.execute(
            f"CREATE TEMP TABLE cordial_staged ON COMMIT DROP AS SELECT {names} FROM {self.quoted} "  # noqa: S608
            "WITH NO DATA"
        )
        count = self._copy(cursor, _STAGED, batch)
        # A different load time alone does not make a row different.
        compared = [self.quote(name) for name in self.columns.of_table if name != self.columns["loaded_at"]]
        same = " AND ".join(f"new.{name} IS NOT DISTINCT FROM old.{name}" for name in compared[2:])
        key = " AND ".join(f"new.{name} = old.{name}" for name in compared[:2])
        cursor.execute(
            f"DELETE FROM {self.quoted} AS old WHERE {where} "  # noqa: S608
            f"AND NOT EXISTS (SELECT FROM {_STAGED} AS new WHERE {key} AND {same})",
            parameters,
        )
        key_columns = ", ".join(compared[:2])
        cursor.execute(
            f"{self.insert_into} SELECT {names} FROM {_STAGED} ON CONFLICT ({key_columns}) DO NOTHING"  # noqa: S608
        )
        return count

    def insert(self, cursor: Any, batch: TrendsBatch) -> int:
        return self._copy(cursor, self.quoted, batch)

    def _copy(self, cursor: Any, target: str, batch: TrendsBatch) -> int:
        is_binary = self._has_binary_types(cursor)
        encode: _Encode = _binary if is_binary else _text
        blocks = encode(batch, list(self.columns.constants.values()))
        columns = ", ".join(map(self.quote, self.columns.of_table))
        copy = f"COPY {target} ({columns}) FROM STDIN" + (" (FORMAT BINARY)" if is_binary else "")
        if hasattr(cursor, "copy"):  # psycopg 3
            with cursor.copy(copy) as stream:
                for block in blocks:
                    stream.write(block)
        else:
            cursor.copy_expert(copy, _Readable(blocks))
        return int(cursor.rowcount)

    def _range(self, batch: TrendsBatch) -> tuple[str, list[Any]]:
        audience, day = (self.quote(self.columns[column]) for column in ("audience", "snapshot_date"))
        ranges = list(day_ranges(batch.days))
        on_days = " OR ".join([f"old.{day} BETWEEN %s AND %s"] * len(ranges))
        parameters = [moment for one in ranges for moment in one]
        return f"({on_days}) AND old.{audience} = ANY(%s)", [*parameters, list(batch.audiences)]

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

    def _can_stage(self, cursor: Any) -> bool:
        """Return whether the table has a unique key of audience and day, and temporary tables are permitted."""
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

#: The characters that are special in COPY's text format.
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _text(batch: TrendsBatch, constants: Sequence[str]) -> Iterator[bytes]:
    """Yield the rows in COPY's text format, a block per audience."""
    parts = [f"\t{day.isoformat()}\t" for day in batch.days]
    # A column without time zone ignores the zone.
    loaded_at = batch.loaded_at.replace(tzinfo=None).isoformat(timespec="seconds") + "+00"
    end = "".join(f"\t{text.translate(_ESCAPES)}" for text in (batch.job_id, loaded_at, *constants)) + "\n"
    for row in batch.rows:
        audience = row.audience.translate(_ESCAPES)
        yield "".join(
            [
                f"{audience}{day}{_NULL if contacts is None else contacts}{end}"
                for day, contacts in zip(parts, row.contacts, strict=True)
            ]
        ).encode()


def _binary(batch: TrendsBatch, constants: Sequence[str]) -> Iterator[bytes]:
    """Yield the rows in COPY's binary format, a block per audience: each value after its length in bytes."""
    yield b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    columns = struct.pack(">h", len(_BINARY_TYPES) + len(constants))
    parts = [struct.pack(">ii", 4, (day - _EPOCH.date()).days) for day in batch.days]
    moment = round((batch.loaded_at.replace(tzinfo=None) - _EPOCH).total_seconds()) * 1_000_000
    end = _sized(batch.job_id) + struct.pack(">iq", 8, moment) + b"".join(map(_sized, constants))
    size, null = struct.Struct(">iq").pack, struct.pack(">i", -1)
    for row in batch.rows:
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
