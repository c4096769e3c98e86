"""StagedTable: compares the file with the table inside the database, and writes only what differs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_cordial.exceptions import TableError
from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.corrections import (
    SHOWN,
    KnownCell,
    bounded,
    change_sums,
    corrections_columns,
    count_corrected,
    difference,
    is_corrected,
)
from airflow_provider_cordial.trends.tables.generic import DbApiTable

#: Columns of the temporary tables: audience, day, contacts.
STAGED_COLUMNS = 3


class StagedTable(DbApiTable):
    """The table in a database with temporary tables, and a fast way to fill a table."""

    #: The temporary tables: what the file has, and the part of it to write.
    staged: str = "cordial_staged"
    changed: str = "cordial_changed"

    #: The beginning of the statement that creates them, and what follows the name.
    create_temporary: ClassVar[str] = "CREATE TEMP TABLE"
    drop_temporary: ClassVar[str] = "DROP TABLE IF EXISTS"
    temporary_options: ClassVar[str] = ""

    @abstractmethod
    def fill(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:
        """Insert the rows of the batch into a table, and return how many the database counted.

        :param whole: insert all columns of the table; otherwise those of a temporary table.
        """

    def replace(self, cursor: Any, batch: TrendsBatch) -> LoadResult:
        if not self.has_rows(cursor, batch):
            return self.append(cursor, batch)
        if not self.stage(cursor, batch):
            return super().replace(cursor, batch)
        return self.merge(cursor, batch)

    def merge(self, cursor: Any, batch: TrendsBatch) -> LoadResult:
        """Bring the table to the rows of the temporary table."""
        result, found = self._compare(cursor, batch)
        if found["namesakes"]:
            raise self.namesake(self._find_namesake(cursor, batch))
        if found["pairs"] > batch.cells:
            # The table has a cell twice: read and replaced row by row.
            return super().replace(cursor, batch)
        result = self.review(cursor, batch, result, found)
        self._write(cursor, batch, matched=found["matched"], untouched=found["untouched"])
        return result

    def review(self, cursor: Any, batch: TrendsBatch, result: LoadResult, found: dict[str, int]) -> LoadResult:
        """Return the result with the share that changes, and record the corrections: before the table is written.

        :raises ExcessiveChangeError: the share is above the bound.
        """
        result = bounded(self.name, result, found, batch, lambda: self._find_largest(cursor, batch))
        if count_corrected(found, batch):
            self._record(cursor, batch)
        return result

    def _find_largest(self, cursor: Any, batch: TrendsBatch) -> list[KnownCell]:
        audience, day, new, old = self._cell()
        joined, parameters = self._joined(batch)
        cursor.execute(
            f"SELECT {audience}, {day}, {old}, {new} {joined} WHERE {new} <> {old} "
            f"ORDER BY {difference(new, old)} DESC, {audience}, {day} LIMIT {SHOWN}",
            parameters,
        )
        return [KnownCell(str(row[0]), row[1], int(row[2]), int(row[3])) for row in cursor.fetchall()]

    def _record(self, cursor: Any, batch: TrendsBatch) -> None:
        """Insert a row for each cell that the load corrects, in its transaction."""
        audience, day, new, old = self._cell()
        names = ", ".join(map(self.quote, corrections_columns(self.columns)))
        values = self.correction_values(batch)
        joined, parameters = self._joined(batch)
        cursor.execute(
            f"INSERT INTO {self.corrections} ({names}) SELECT {audience}, {day}, {old}, {new}, {self.marks(values)} "
            f"{joined} WHERE {is_corrected(new, old, batch.on_blank)}",
            [*values, *parameters],
        )

    def _cell(self) -> tuple[str, str, str, str]:
        """Return the columns of a comparison: audience, day, the file's number, and the table's."""
        audience, day, contacts = map(self.quote, self.columns.of_table[:STAGED_COLUMNS])
        return f"new.{audience}", f"new.{day}", f"new.{contacts}", f"old.{contacts}"

    def append(self, cursor: Any, batch: TrendsBatch) -> LoadResult:
        """Insert all rows: the table has none of them."""
        if self.fill(cursor, self.quoted, batch, whole=True) != batch.cells:
            self.verify(cursor, batch.days, batch.audiences)
        return LoadResult.of_new(batch)

    def has_rows(self, cursor: Any, batch: TrendsBatch) -> bool:
        """Return whether the table has a row of the batch's audiences and days."""
        for where, parameters in self.ranges(batch.days, batch.audiences, "old."):
            cursor.execute(f"SELECT 1 FROM {self.quoted} AS old WHERE {where} LIMIT 1", parameters)
            if cursor.fetchall():
                return True
        return False

    def stage(self, cursor: Any, batch: TrendsBatch) -> bool:
        """Fill the temporary table with the file; return False if the database does not permit one."""
        self._create_temporary(cursor, self.staged)
        self.fill(cursor, self.staged, batch, whole=False)
        return True

    def bytes_of(self, column: str) -> str:
        """Return a text column as bytes, in which no two names are equal."""
        return f"CAST({column} AS BLOB)"

    def affected(self, cursor: Any) -> int:
        """Return how many rows the last statement wrote."""
        return int(cursor.rowcount)

    def delete_changed(self, source: str) -> tuple[str, list[Any]]:
        """Return the statement that deletes the rows of the table that a temporary table replaces."""
        cell = ", ".join(map(self.quote, self.columns.key[:2]))
        scope, texts = self.in_scope()
        return f"DELETE FROM {self.quoted} WHERE ({cell}) IN (SELECT {cell} FROM {source}){scope}", texts

    def create_changed(self, cursor: Any) -> None:
        """Create the temporary table of what is to be written."""
        self._create_temporary(cursor, self.changed)

    def _create_temporary(self, cursor: Any, name: str) -> None:
        names = ", ".join(map(self.quote, self.columns.of_table[:STAGED_COLUMNS]))
        cursor.execute(f"{self.drop_temporary} {name}")
        # The types are those of the table: values compare as they do there.
        cursor.execute(
            f"{self.create_temporary} {name}{self.temporary_options} AS SELECT {names} FROM {self.quoted} WHERE 1 = 0"
        )

    def _joined(self, batch: TrendsBatch) -> tuple[str, list[Any]]:
        """Return the file beside the rows that the table has: aliases ``new`` and ``old``."""
        mark = self.placeholder
        audience, day = map(self.quote, self.columns.key[:2])
        scope, texts = self.in_scope("old.")
        joined = (
            f"FROM {self.staged} AS new LEFT JOIN {self.quoted} AS old ON old.{audience} = new.{audience} "
            f"AND old.{day} = new.{day} AND old.{day} BETWEEN {mark} AND {mark}{scope}"
        )
        return joined, [self.parameter(min(batch.days)), self.parameter(max(batch.days)), *texts]

    def _untouched(self, batch: TrendsBatch) -> tuple[str, list[Any]]:
        """Return the condition for a row that stays as it is: a different load time alone is not a reason to write."""
        new, old = (f"{alias}.{self.quote(self.columns['contacts'])}" for alias in ("new", "old"))
        names = [self.columns["job_id"], *self.columns.constants]
        equal = "".join(f" AND old.{self.quote(name)} = {self.placeholder}" for name in names)
        matched = f"old.{self.quote(self.columns['audience'])} IS NOT NULL"
        same = f"{matched} AND ({new} = {old} OR ({new} IS NULL AND {old} IS NULL)){equal}"
        kept = f" OR ({new} IS NULL AND {old} IS NOT NULL)" if batch.on_blank == "keep" else ""
        return f"({same}){kept}", [batch.job_id, *self.columns.constants.values()]

    def _compare(self, cursor: Any, batch: TrendsBatch) -> tuple[LoadResult, dict[str, int]]:
        """Count in one query what the file changes, and what decides how it is written."""
        audience = self.quote(self.columns["audience"])
        *_, new, old = self._cell()
        untouched, values = self._untouched(batch)
        conditions = {
            "new": f"{new} IS NOT NULL AND {old} IS NULL",
            "same": f"{new} = {old}",
            "corrected": f"{new} <> {old}",
            "blank": f"{new} IS NULL AND {old} IS NULL",
            "lost": f"{new} IS NULL AND {old} IS NOT NULL",
            "matched": f"old.{audience} IS NOT NULL",
            "namesakes": f"{self.bytes_of(f'old.{audience}')} <> {self.bytes_of(f'new.{audience}')}",
            "untouched": untouched,
        }
        columns = {name: f"COUNT(CASE WHEN {condition} THEN 1 END)" for name, condition in conditions.items()}
        columns |= {"pairs": "COUNT(*)", **change_sums(new, old, batch)}
        joined, parameters = self._joined(batch)
        cursor.execute(f"SELECT {', '.join(columns.values())} {joined}", [*values, *parameters])
        found = dict(zip(columns, map(int, cursor.fetchall()[0]), strict=True))
        return LoadResult.of_counts(found, batch.on_blank), found

    def _find_namesake(self, cursor: Any, batch: TrendsBatch) -> str:
        audience = self.quote(self.columns["audience"])
        joined, parameters = self._joined(batch)
        differs = f"{self.bytes_of(f'old.{audience}')} <> {self.bytes_of(f'new.{audience}')}"
        cursor.execute(f"SELECT old.{audience} {joined} WHERE {differs} LIMIT 1", parameters)
        return str(cursor.fetchall()[0][0])

    def _write(self, cursor: Any, batch: TrendsBatch, *, matched: int, untouched: int) -> None:
        if untouched == batch.cells:
            return
        source = self.staged
        if untouched:
            source = self.changed
            self._keep_changed(cursor, batch)
        deleted = 0
        if matched > untouched:
            cursor.execute(*self.delete_changed(source))
            deleted = self.affected(cursor)
        inserted = self.insert_staged(cursor, batch, source)
        if (deleted, inserted) != (matched - untouched, batch.cells - untouched):
            self.verify(cursor, batch.days, batch.audiences)

    def _keep_changed(self, cursor: Any, batch: TrendsBatch) -> None:
        """Fill the second temporary table with what is to be written."""
        names = ", ".join(f"new.{self.quote(name)}" for name in self.columns.of_table[:STAGED_COLUMNS])
        joined, parameters = self._joined(batch)
        untouched, values = self._untouched(batch)
        where = f"WHERE CASE WHEN {untouched} THEN 1 ELSE 0 END = 0"
        self.create_changed(cursor)
        into = self.insert_into(self.changed, STAGED_COLUMNS)
        cursor.execute(f"{into} SELECT {names} {joined} {where}", [*parameters, *values])

    def insert_staged(self, cursor: Any, batch: TrendsBatch, source: str) -> int:
        """Insert a temporary table, and what is the same in all rows."""
        names = ", ".join(map(self.quote, self.columns.of_table[:STAGED_COLUMNS]))
        shared = self.shared_values(batch)
        cursor.execute(f"{self.insert_into(self.quoted)} SELECT {names}, {self.marks(shared)} FROM {source}", shared)
        return self.affected(cursor)

    def marks(self, values: Sequence[Any]) -> str:
        """Return the placeholders of values among the columns of a query."""
        return ", ".join([self.placeholder] * len(values))


class CopiedTable(StagedTable):
    """The table in a warehouse that copies a file slowly, or commits on DDL: it copies before the transaction.

    The transaction only compares and writes: it is short, and holds no lock while a file travels.
    """

    def _load_once(self, batch: TrendsBatch) -> LoadResult:
        with self.connection() as connection:
            with self.transaction(connection) as cursor:
                self.create_tables(cursor, batch)
                self.check_tables(cursor, batch)
                if not batch.cells:
                    return LoadResult.of_new(batch)
                self.stage(cursor, batch)
                self._create_temporary(cursor, self.changed)
            with self.transaction(connection) as cursor:
                self.lock(cursor)
                return self.merge(cursor, batch)

    def stage(self, cursor: Any, batch: TrendsBatch) -> bool:
        self._create_temporary(cursor, self.staged)
        if (count := self.fill(cursor, self.staged, batch, whole=False)) != batch.cells:
            msg = (
                f"Table {self.name!r} would have {count} of {batch.cells} rows of the file: the warehouse did not copy "
                "the others. The rows of the table are as before."
            )
            raise TableError(msg, table=self.name)
        return True

    def create_changed(self, cursor: Any) -> None:
        """Nothing: DDL would commit here."""

    def _write(self, cursor: Any, batch: TrendsBatch, *, matched: int, untouched: int) -> None:
        super()._write(cursor, batch, matched=matched, untouched=untouched)
        # Another load may have inserted the same rows: no key prevents it.
        self.verify(cursor, batch.days, batch.audiences)
