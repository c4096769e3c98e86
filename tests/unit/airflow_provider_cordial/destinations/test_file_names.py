"""Which files of a folder are an export's: a wrong one is never chosen, and several are never a guess."""

from __future__ import annotations

import pytest

from airflow_provider_cordial.destinations import DeliveredFile
from airflow_provider_cordial.destinations.file_names import CSV, JSON, choose_files, likely_extensions, parse_file_name
from airflow_provider_cordial.exceptions import AmbiguousFileError

UUID = "0b9a1a52-5d6e-4c8b-9a57-3a0d6f1c2e4f"

COMPANIONS = [
    "md5",
    "sha1",
    "sha256",
    "sha512",
    "done",
    "ok",
    "ctl",
    "trg",
    "sig",
    "asc",
    "pgp",
    "gpg",
    "crc32",
    "lock",
]

UNFINISHED = ["part", "filepart", "tmp", "temp", "crdownload", "partial", "swp", "lock", "inprogress", "uploading"]


def choose(names: list[str], *, name: str = "trends", parts: bool = False, formats: tuple[str, ...] = CSV) -> list[str]:
    files = [DeliveredFile(f"exports/{one}", 10, None) for one in names]
    return [file.name for file in choose_files(files, name, parts=parts, formats=formats)]


@pytest.mark.parametrize(
    "file_name",
    [
        *(f"trends{extension}" for extension in likely_extensions()),
        "trends.CSV",
        "trends.Csv.GZ",
        "trends.txt.gz",
        "trends-20261124120000.csv",
        "trends_548817d0.csv",
        "trends-5f3a9c0e8b1d4c2a7e6f0d13.csv",
        f"trends-{UUID}.csv",
        "trends 2026-11-12.csv",
        "trends.2026-11-12.csv",
        "trends-2026-11-12T10-30-00Z.csv",
        "trends.20261112",
        "trends.548817d0",
        "trends_20261112",
        "trends(1).csv",
        "trends (1).csv",
        "trends-1.csv",
        "trends_final.csv",
    ],
)
def test_a_file_named_after_the_export_is_found(file_name: str) -> None:
    assert choose([file_name, "other.csv", "another trends.csv"]) == [file_name]


@pytest.mark.parametrize(
    "file_name",
    [
        *(f"trends.csv.{extension}" for extension in (*COMPANIONS, *UNFINISHED)),
        *(f"trends.{extension}" for extension in (*COMPANIONS, *UNFINISHED)),
        *(f"trends.{extension.upper()}" for extension in (*COMPANIONS, *UNFINISHED)),
        *(f"trends.{extension}.csv" for extension in UNFINISHED),
        "trends-20261124.csv.part",
        "trends.csv~",
        "trends~",
        "trends.csv.6eF5b5da",
        "trends.csv.X1b2c3",
        ".trends.csv.X1b2c3",
        ".trends.csv",
        "_trends.csv",
        "~trends.csv",
        "#trends.csv#",
        "_SUCCESS",
        "trends_SUCCESS",
        "trends.xlsx",
        "trends.json",
        "trends.parquet",
        "trends.csv.gpg",
        "trends.csv.d",
        "trends.",
        "trendsetter.csv",
        "trends2.csv",
        "mytrends.csv",
        "Trends.csv",
        "TRENDS.CSV",
    ],
)
def test_any_other_file_is_ignored(file_name: str) -> None:
    assert choose([file_name]) == []
    assert choose([file_name, "trends.csv"]) == ["trends.csv"]


def test_a_name_in_capitals_is_compared_exactly() -> None:
    assert choose(["TRENDS.CSV", "trends.csv"], name="TRENDS") == ["TRENDS.CSV"]


@pytest.mark.parametrize("name", ["a.b", "a+b (c)", "Käufer [1]", "2026-11-12", "trends.csv", "trends-1"])
def test_an_exports_name_is_compared_literally(name: str) -> None:
    assert choose([f"{name}.csv", "axb.csv", "2026x11x12.csv", "trends.md5"], name=name) == [f"{name}.csv"]


@pytest.mark.parametrize("others", [["trends-us.csv"], ["trends-us.csv", "trends-us-2026.csv"], ["trends_weekly.csv"]])
@pytest.mark.parametrize("ours", ["trends.csv", "trends-20261124120000.csv", "trends_548817d0.csv"])
def test_a_file_that_may_be_another_exports_is_not_preferred(ours: str, others: list[str]) -> None:
    assert choose([*others, ours]) == [ours]


@pytest.mark.parametrize(
    "names",
    [
        ["trends.csv", "trends.csv.gz"],
        ["trends.csv", "trends(1).csv"],
        ["trends.csv", "trends-20261124120000.csv"],
        ["trends_548817d0.csv", "trends_648817d0.csv"],
        ["trends-us.csv", "trends-uk.csv"],
        ["trends.csv", "trends.CSV"],
    ],
)
def test_two_files_that_could_be_it_are_an_error_that_names_them(names: list[str]) -> None:
    with pytest.raises(AmbiguousFileError) as ambiguous:
        choose(names)
    message = str(ambiguous.value)
    assert all(f"exports/{name}" in message for name in names)
    assert message.startswith("2 files could be that of export 'trends': ")
    assert "source_path" in message
    assert not ambiguous.value.retry_helps


PARTS = [
    ["trends-1.csv", "trends-2.csv", "trends-10.csv"],
    ["trends_01.csv", "trends_02.csv"],
    ["trends.part1.csv", "trends.part2.csv"],
    ["trends (1).csv", "trends (2).csv"],
    ["trends-1-of-2.csv", "trends-2-of-2.csv"],
    ["trends-0.csv.gz", "trends-1.csv.gz"],
]


@pytest.mark.parametrize("names", PARTS)
def test_parts_are_an_error_that_names_the_parameter(names: list[str]) -> None:
    with pytest.raises(AmbiguousFileError, match=r"(?s)parts=True.*source_path"):
        choose(names)


@pytest.mark.parametrize("names", [*PARTS[1:], [f"trends-{number}.csv" for number in range(1, 12)]])
def test_parts_are_read_in_the_order_of_their_numbers(names: list[str]) -> None:
    assert choose([*reversed(names), "trends-us.csv", "trends.csv.md5"], parts=True) == names


@pytest.mark.parametrize(
    "names",
    [["trends-1.csv", "trends-3.csv"], ["trends-2.csv"], ["trends-1-of-3.csv", "trends-2-of-3.csv"], []],
)
def test_a_missing_part_is_awaited(names: list[str]) -> None:
    assert choose(names, parts=True) == []


@pytest.mark.parametrize(
    "names",
    [
        ["trends-1.csv", "trends_1.csv"],
        ["trends-1-of-2.csv", "trends-2-of-3.csv"],
        ["trends.csv", "trends-1.csv"],
    ],
)
def test_parts_that_contradict_each_other_are_an_error(names: list[str]) -> None:
    with pytest.raises(AmbiguousFileError, match="source_path"):
        choose(names, parts=True)


@pytest.mark.parametrize("names", [["trends.csv"], ["trends-1.csv"], ["trends_548817d0.csv"]])
def test_one_file_is_read_as_it_is_where_parts_are_allowed(names: list[str]) -> None:
    assert choose(names, parts=True) == names


def test_a_long_name_is_parsed_in_time() -> None:
    assert parse_file_name("trends-" + "1-" * 20_000 + "x.csv", "trends") is not None


@pytest.mark.parametrize("file_name", [*(f"log{one}" for one in likely_extensions(JSON)), "log-548817d0.JSONL.gz"])
def test_a_json_file_is_found_for_an_export_of_json(file_name: str) -> None:
    assert choose([file_name, "log.json.md5", "log.json.X1b2c3"], name="log", formats=JSON) == [file_name]
    assert choose(["log.csv"], name="log", formats=JSON) == []


def test_parts_of_json_are_read_in_the_order_of_their_numbers() -> None:
    names = [f"log-{number}.json.gz" for number in range(1, 12)]
    assert choose(sorted(names), name="log", parts=True, formats=JSON) == names
