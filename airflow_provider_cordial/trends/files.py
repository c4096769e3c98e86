"""The long rows of an export as files: CSV or Parquet, one for all days or one a day, in bounded memory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Literal

from airflow_provider_cordial.trends.csv import AudienceRow

FileFormat = Literal["csv", "parquet"]

#: Rows that are held before they go to their files.
_HELD = 100_000


def write_long_csv(
    folder: Path,
    days: Sequence[date],
    rows: Iterable[AudienceRow],
    *,
    constants: Mapping[str, str],
    by_day: bool,
) -> tuple[int, dict[str, Path]]:
    """Write ``audience, snapshot_date, contacts`` and the constant columns to CSV files in a local folder.

    A missing day is an empty cell. The same rows make the same files, byte for byte.

    :param by_day: make a file for each day, and one for all days otherwise.
    :returns: how many rows were written, and the files by day, or under ``""``.
    """
    keys = [day.isoformat() for day in days]
    files = {key: folder / f"{key or 'all'}.csv" for key in (keys if by_day else [""])}
    for path in files.values():
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(["audience", "snapshot_date", "contacts", *constants])
    held: dict[str, list[list[object]]] = {key: [] for key in files}
    count = kept = 0

    def release() -> None:
        # Opened anew each time: a file for each day of years would be more than a process may have open.
        for key, some in held.items():
            with files[key].open("a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(some)
            some.clear()

    values = list(constants.values())
    for row in rows:
        for key, contacts in zip(keys, row.contacts, strict=True):
            held[key if by_day else ""].append([row.audience, key, contacts, *values])
        count += len(keys)
        kept += len(keys)
        if kept >= _HELD:
            release()
            kept = 0
    release()
    return count, files


def to_parquet(path: Path) -> Path:
    """Write a file of ``write_long_csv`` as Parquet beside it, a block at a time, and return its path."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv
    from pyarrow import parquet

    target = path.with_suffix(".parquet")
    with path.open(newline="") as file:
        names = next(csv.reader(file))
    types = {"snapshot_date": pa.date32(), "contacts": pa.int64()}
    reader = pa_csv.open_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: types.get(name, pa.string()) for name in names},
            null_values=[""],
            strings_can_be_null=False,
        ),
    )
    with reader, parquet.ParquetWriter(target, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
    return target
