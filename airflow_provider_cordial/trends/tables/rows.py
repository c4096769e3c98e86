"""The rows of a batch as local files that databases read: audience, day, contacts."""

from __future__ import annotations

from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_cordial.trends.tables.generic import batches

if TYPE_CHECKING:
    from airflow_provider_cordial.trends.batch import TrendsBatch

#: Rows of a row group: memory does not grow with the file.
_GROUP = 30_000


def write_csv(path: Path, batch: TrendsBatch) -> None:
    """Write a CSV without a header: audiences in quotes, NULL as an empty cell."""
    days = [f",{day.isoformat()}," for day in batch.days]
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in batch.rows:
            audience = '"' + row.audience.replace('"', '""') + '"'
            file.writelines(
                f"{audience}{day}{'' if contacts is None else contacts}\n"
                for day, contacts in zip(days, row.contacts, strict=True)
            )


def write_parquet(path: Path, batch: TrendsBatch) -> None:
    """Write ``audience``, ``snapshot_date``, and ``contacts`` as Parquet, which no reader takes for something else."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [
            pa.field("audience", pa.string(), nullable=False),
            pa.field("snapshot_date", pa.date32(), nullable=False),
            pa.field("contacts", pa.int64()),
        ]
    )
    width = len(batch.days)
    with parquet.ParquetWriter(path, schema, compression="snappy") as writer:
        for rows in batches(batch.rows, max(1, _GROUP // max(1, width))):
            audiences = chain.from_iterable(repeat(row.audience, width) for row in rows)
            columns = [
                pa.array(audiences, pa.string(), size=width * len(rows)),
                pa.array([*batch.days] * len(rows), pa.date32()),
                pa.array(chain.from_iterable(row.contacts for row in rows), pa.int64(), size=width * len(rows)),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
