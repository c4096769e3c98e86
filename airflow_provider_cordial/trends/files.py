"""The long rows of an export as files, in bounded memory: CSV or Parquet, one per day or one for all."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from airflow_provider_cordial.trends.columns import Columns
from airflow_provider_cordial.trends.csv import AudienceRow

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

FileFormat = Literal["csv", "parquet"]

#: Rows that are buffered before they are written to their files.
_BUFFERED = 100_000

#: Of a path on this machine; a path without a scheme has the empty one.
_LOCAL_PROTOCOLS = ("", "file", "local")

#: Where a file is visible while it is written.
_FILE_PROTOCOLS = (*_LOCAL_PROTOCOLS, "sftp", "ssh")


def write_long_csv(
    folder: Path,
    days: Sequence[date],
    rows: Iterable[AudienceRow],
    *,
    columns: Columns,
    by_day: bool,
) -> tuple[int, dict[str, Path]]:
    """Write ``audience, snapshot_date, contacts``, the scope, and the constants to CSV files in a local folder.

    A blank is an empty cell. The same rows result in the same files, byte for byte.

    :param by_day: write one file per day, and one file for all days otherwise.
    :returns: the number of rows, and the files by day, or under ``""``.
    """
    keys = [day.isoformat() for day in days]
    files = {key: folder / f"{key or 'all'}.csv" for key in (keys if by_day else [""])}
    for path in files.values():
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(columns.of_file)
    buffer: dict[str, list[list[object]]] = {key: [] for key in files}
    count = buffered = 0

    def flush() -> None:
        # Opened again each time: one file per day of several years would exceed the open files of a process.
        for key, some in buffer.items():
            with files[key].open("a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(some)
            some.clear()

    values = list(columns.shared.values())
    for row in rows:
        for key, contacts in zip(keys, row.contacts, strict=True):
            buffer[key if by_day else ""].append([row.audience, key, contacts, *values])
        count += len(keys)
        buffered += len(keys)
        if buffered >= _BUFFERED:
            flush()
            buffered = 0
    flush()
    return count, files


def convert_to_parquet(path: Path, columns: Columns) -> Path:
    """Convert a file of ``write_long_csv`` to Parquet, a block at a time, and return the path of the new file."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv
    from pyarrow import parquet

    target = path.with_suffix(".parquet")
    types = {columns["snapshot_date"]: pa.date32(), columns["contacts"]: pa.int64()}
    reader = pa_csv.open_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: types.get(name, pa.string()) for name in columns.of_file},
            null_values=[""],
            strings_can_be_null=False,
        ),
    )
    with reader, parquet.ParquetWriter(target, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
    return target


def publish_file(local: Path, target: ObjectStoragePath) -> None:
    """Copy a file to its place, completely or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # An object appears when it is complete; a file would be visible while it grows.
    is_file = target.protocol in _FILE_PROTOCOLS
    unfinished = target.parent / f".{target.name}.part" if is_file else target
    with local.open("rb") as source, unfinished.open("wb") as sink:  # type: ignore[no-untyped-call]
        shutil.copyfileobj(source, sink, 1 << 20)
        if target.protocol in _LOCAL_PROTOCOLS:
            # Otherwise a crash of the machine can leave the name without its content.
            sink.flush()
            os.fsync(sink.fileno())
    if target.protocol in _LOCAL_PROTOCOLS:
        os.replace(unfinished.path, target.path)  # noqa: PTH105 - of the parsed paths
    elif is_file:
        unfinished.replace(target)
