"""Writing the long rows as files: the same bytes each time, and nothing of an invalid file."""

from __future__ import annotations

import csv
import tracemalloc
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any

import pytest
from pyarrow import parquet

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.transfers.audience_trends_to_file import AudienceTrendsToFileOperator
from airflow_provider_cordial.trends import Columns, ForeignTrendsError
from airflow_provider_cordial.trends.csv import AudienceRow
from airflow_provider_cordial.trends.files import write_long_csv
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import GOLD, PLAIN, QUICK, deliver, export

TEN, ELEVEN = date(2026, 11, 10), date(2026, 11, 11)


def write(path: Path | str, **options: Any) -> dict[str, Any]:
    operator = AudienceTrendsToFileOperator(
        **{"task_id": "write", "export": export(), "path": str(path), "file_wait": QUICK, **options}
    )
    return operator.execute({})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_one_file_per_day(cordial: SandboxProcess, tmp_path: Path) -> None:
    deliver(cordial, PLAIN)
    target = tmp_path / "out"
    counts = write(target, columns=Columns(constants={"account": "acme"}))
    quoted = '"Käufer, ""Gold"""'
    header = "audience,snapshot_date,contacts,account\n"
    expected = {
        "snapshot_date=2026-11-10/audience_trends.csv": f"{header}a,2026-11-10,1,acme\n{quoted},2026-11-10,3,acme\n",
        "snapshot_date=2026-11-11/audience_trends.csv": f"{header}a,2026-11-11,2,acme\n{quoted},2026-11-11,,acme\n",
    }
    assert tree(target) == {name: text.encode() for name, text in expected.items()}
    assert counts == {
        "rows": 4,
        "audiences": 2,
        "days": 2,
        "missing": 1,
        "file": "exports/trends.csv",
        "files": 2,
        "path": str(target),
    }
    before = tree(target)
    write(f"file://{target}", columns=Columns(constants={"account": "acme"}))
    assert tree(target) == before


def test_one_file_for_all_days(cordial: SandboxProcess, tmp_path: Path) -> None:
    deliver(cordial, PLAIN)
    write(tmp_path / "out", partition_by_day=False, file_name="trends")
    (name,) = tree(tmp_path / "out")
    assert name == "trends-2026-11-10-2026-11-11.csv"
    with (tmp_path / "out" / name).open(newline="") as file:
        assert list(csv.reader(file))[1:] == [
            ["a", "2026-11-10", "1"],
            ["a", "2026-11-11", "2"],
            [GOLD, "2026-11-10", "3"],
            [GOLD, "2026-11-11", ""],
        ]


@pytest.mark.parametrize("by_day", [True, False])
def test_parquet_has_types_and_null(cordial: SandboxProcess, tmp_path: Path, by_day: bool) -> None:
    deliver(cordial, PLAIN.replace("a,1,2", '"two\nlines",1,2'))
    record = export(audiences=["two\nlines", GOLD])
    write(tmp_path / "out", export=record, file_format="parquet", partition_by_day=by_day)
    files = sorted((tmp_path / "out").rglob("*.parquet"))
    assert len(files) == (2 if by_day else 1)
    # Read file by file: pyarrow turns a folder named after a day into a column.
    rows = [row for path in files for row in parquet.ParquetFile(path).read().to_pylist()]
    assert sorted(map(str, rows)) == sorted(
        str({"audience": name, "snapshot_date": day, "contacts": contacts})
        for name, day, contacts in [
            ("two\nlines", TEN, 1),
            ("two\nlines", ELEVEN, 2),
            (GOLD, TEN, 3),
            (GOLD, ELEVEN, None),
        ]
    )
    assert [str(field.type) for field in parquet.ParquetFile(files[0]).schema_arrow] == [
        "string",
        "date32[day]",
        "int64",
    ]


def test_an_invalid_file_leaves_the_target_unchanged(cordial: SandboxProcess, tmp_path: Path) -> None:
    deliver(cordial, PLAIN)
    write(tmp_path / "out")
    before = tree(tmp_path / "out")
    deliver(cordial, PLAIN + "b,1,2\n")
    with pytest.raises(ForeignTrendsError):
        write(tmp_path / "out")
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_an_interrupted_write_leaves_each_file_whole(
    cordial: SandboxProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    deliver(cordial, PLAIN)
    target = f"{scheme}{tmp_path / 'out'}"
    write(target)
    before = tree(tmp_path / "out")
    deliver(cordial, PLAIN.replace("a,1,2", "a,5,6"))

    def copy_half(source: IO[bytes], sink: IO[bytes], _length: int) -> None:
        sink.write(source.read(20))
        sink.flush()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", copy_half)
        with pytest.raises(KeyboardInterrupt):
            write(target)
    interrupted = tree(tmp_path / "out")
    assert {name: content for name, content in interrupted.items() if not Path(name).name.startswith(".")} == before
    write(target)
    after = tree(tmp_path / "out")
    assert after.keys() == before.keys()
    assert b"a,2026-11-10,5" in after["snapshot_date=2026-11-10/audience_trends.csv"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"file_format": "xlsx"}, "Unsupported file_format 'xlsx': use csv or parquet."),
        ({"file_name": "a/b"}, "Invalid file_name 'a/b': must be non-empty"),
        ({"file_name": ""}, "Invalid file_name '': must be non-empty"),
        (
            {"columns": Columns(names={"job_id": "job"})},
            "Unknown column 'job_id' of a file: expected one of audience, ",
        ),
        ({"export": "548817d0"}, "got '548817d0'"),
    ],
)
def test_invalid_parameters_are_rejected(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        write(tmp_path / "out", **options)
    assert text in str(rejected.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("by_day", [True, False])
def test_memory_and_open_files_are_bounded(tmp_path: Path, by_day: bool) -> None:
    days = [date(2020, 1, 1) + timedelta(days=n) for n in range(1500)]

    def rows(count: int) -> Iterator[AudienceRow]:
        return (AudienceRow(f"a{n}", [n] * len(days)) for n in range(count))

    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        tracemalloc.start()
        written, files = write_long_csv(folder, days, rows(count), columns=Columns(), by_day=by_day)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert written == count * 1500
        assert len(files) == (1500 if by_day else 1)
        assert sum(path.read_text().count("\n") - 1 for path in files.values()) == written
        return top

    small = peak(150)
    # A second time if need be: servers of other tests may allocate in other threads meanwhile.
    assert peak(450) < small * 1.2 or peak(451) < small * 1.2
