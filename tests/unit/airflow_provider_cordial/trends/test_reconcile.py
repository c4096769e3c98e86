"""What differs between a file and a table, cell by cell, and which audiences a sample has."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.trends import AudienceRow
from airflow_provider_cordial.trends.reconcile import (
    Comparison,
    Difference,
    DifferenceKind,
    find_differences,
    pick_sample,
)
from airflow_provider_cordial.trends.tables.base import Cell

DAYS = [date(2026, 11, 10), date(2026, 11, 11), date(2026, 11, 12)]


def compare(file: dict[str, list[int | None]], table: Sequence[Cell], **options: int) -> list[Difference]:
    rows = [AudienceRow(name, contacts) for name, contacts in file.items()]

    def read(audiences: Sequence[str]) -> Iterator[Cell]:
        return (cell for cell in table if cell[0] in audiences)

    return list(find_differences(rows, DAYS, read, **options))


@pytest.mark.parametrize(
    ("file", "table", "expected"),
    [
        pytest.param(1, [1], None, id="equal"),
        pytest.param(0, [0], None, id="zero-is-a-number"),
        pytest.param(None, [None], None, id="both-blank"),
        pytest.param(None, [], None, id="blank-and-without-a-row"),
        pytest.param(1, [2], ("changed", 2, 1), id="changed"),
        pytest.param(0, [2], ("changed", 2, 0), id="changed-to-zero"),
        pytest.param(1, [], ("missing", None, 1), id="missing"),
        pytest.param(0, [], ("missing", None, 0), id="a-missing-zero"),
        pytest.param(1, [None], ("blank", None, 1), id="blank"),
        pytest.param(None, [2], ("lost", 2, None), id="lost"),
        pytest.param(None, [0], ("lost", 0, None), id="a-lost-zero"),
        # In a table without a key.
        pytest.param(1, [1, 1], None, id="twice-and-equal"),
        pytest.param(1, [None, 1], None, id="a-number-and-a-blank"),
        pytest.param(1, [1, None], None, id="a-number-before-a-blank"),
        pytest.param(1, [1, 2], ("changed", 2, 1), id="the-second-differs"),
        pytest.param(1, [2, 1], ("changed", 2, 1), id="the-first-differs"),
        pytest.param(None, [None, 2], ("lost", 2, None), id="lost-beside-a-blank"),
    ],
)
def test_a_cell_differs_in_one_way(
    file: int | None, table: list[int | None], expected: tuple[DifferenceKind, int | None, int | None] | None
) -> None:
    found = compare({"a": [file, None, None]}, [("a", DAYS[0], number) for number in table])
    wanted = [] if expected is None else [Difference("a", DAYS[0], *expected)]
    assert found == wanted


def test_days_and_audiences_that_did_not_come_are_not_compared() -> None:
    before = DAYS[0] - timedelta(days=1)
    table: list[Cell] = [("a", before, 1), ("b", DAYS[0], 1), *(("a", day, 1) for day in DAYS)]
    assert compare({"a": [1, 1, 1]}, table) == []


def test_differences_have_the_order_of_the_file() -> None:
    found = compare({"b": [1, 2, 3], "a": [4, 5, 6]}, [("a", DAYS[1], 5)], batch=3)
    assert [(one.audience, one.snapshot_date) for one in found] == [
        *(("b", day) for day in DAYS),
        ("a", DAYS[0]),
        ("a", DAYS[2]),
    ]


CELLS = st.dictionaries(
    st.text(max_size=2), st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=3, max_size=3), max_size=6
)


@given(file=CELLS, table=CELLS, without_row=st.sets(st.integers(0, 20)), batch=st.integers(1, 10))
def test_differences_and_equal_cells_are_all_cells(
    file: dict[str, list[int | None]], table: dict[str, list[int | None]], without_row: set[int], batch: int
) -> None:
    cells = [(name, day, number) for name, row in table.items() for day, number in zip(DAYS, row, strict=True)]
    stored = [cell for index, cell in enumerate(cells) if index not in without_row]
    found = {(one.audience, one.snapshot_date): one for one in compare(file, stored, batch=batch)}
    known = {(name, day): number for name, day, number in stored}
    for name, row in file.items():
        for day, number in zip(DAYS, row, strict=True):
            one = found.pop((name, day), None)
            assert (one is None) == (known.get((name, day)) == number)
            if one is not None:
                assert (one.table, one.file) == (known.get((name, day)), number)
                assert (one.kind == "missing") == ((name, day) not in known)
                assert (one.kind == "blank") == (known.get((name, day), 0) is None)
                assert (one.kind == "lost") == (number is None)
    assert not found


def test_each_audience_is_read_once_in_batches_that_bound_the_memory() -> None:
    days = [date(2020, 1, 1) + timedelta(days=number) for number in range(100)]
    read: list[str] = []

    def cells(audiences: Sequence[str]) -> Iterator[Cell]:
        read.extend(audiences)
        return ((name, day, 1) for name in audiences for day in days)

    def peak(count: int) -> int:
        read.clear()
        rows = (AudienceRow(str(number), [2] * len(days)) for number in range(count))
        tracemalloc.start()
        assert sum(1 for _ in find_differences(rows, days, cells, batch=5_000)) == count * len(days)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read == [str(number) for number in range(count)]
        return top

    small, large = peak(200), peak(800)
    assert large < small * 1.2


def test_nothing_is_read_for_a_file_without_days() -> None:
    def read(audiences: Sequence[str]) -> Iterator[Cell]:
        raise AssertionError(audiences)

    assert list(find_differences([AudienceRow("a", [])], [], read)) == []


def test_a_comparison_counts_everything_and_keeps_a_bounded_part() -> None:
    comparison = Comparison(max_cells=2)
    for difference in compare({"a": [1, 2, 3], "b": [None, 5, 6]}, [("a", DAYS[0], 7), ("b", DAYS[0], 8)]):
        comparison.add(difference)
    assert comparison.counts == {"changed": 1, "missing": 4, "blank": 0, "lost": 1}
    assert comparison.total == 6
    assert comparison.cells == {"a": ["2026-11-10", "2026-11-11"]}
    assert comparison.is_truncated
    assert [str(one) for one in comparison.first] == [
        "'a' on 2026-11-10 changed (table 7, file 1)",
        "'a' on 2026-11-11 missing (file 2)",
        "'a' on 2026-11-12 missing (file 3)",
        "'b' on 2026-11-10 lost (table 8)",
        "'b' on 2026-11-11 missing (file 5)",
    ]


NAMES = [f"audience {number}" for number in range(200)]


def test_a_sample_is_the_same_for_a_run_and_another_for_other_runs() -> None:
    first = pick_sample(NAMES, 20, seed="scheduled__2026-11-12")
    assert len(set(first)) == 20
    # In the order of the list, and whatever the order of the list is.
    assert list(first) == [name for name in NAMES if name in first]
    assert set(pick_sample(NAMES[::-1], 20, seed="scheduled__2026-11-12")) == set(first)
    assert pick_sample(NAMES, 20, seed="scheduled__2026-11-13") != first
    # Of each process and version: the identity of a submission depends on it.
    assert pick_sample(["a", "b", "c", "d", "e"], 2, seed="run") == ("a", "e")


def test_every_audience_is_picked_as_often_as_the_others() -> None:
    names = NAMES[:10]
    picked = [name for run in range(1000) for name in pick_sample(names, 3, seed=f"run {run}")]
    # 300 times each on average; the standard deviation is below 15.
    assert all(240 < picked.count(name) < 360 for name in names)


def test_a_sample_of_everything_is_everything() -> None:
    assert pick_sample(["b", "a"], 5, seed="run") == ("b", "a")


@pytest.mark.parametrize("size", [0, -1, True, "2", 1.5])
def test_an_invalid_sample_is_rejected(size: object) -> None:
    with pytest.raises(InvalidExportError, match=f"Invalid sample {size!r}: expected a number of audiences"):
        pick_sample(["a"], size, seed="run")  # type: ignore[arg-type]
