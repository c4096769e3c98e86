"""The plan: every hole once, nothing else, newest first, and few exports for the usual shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.coverage import Coverage
from airflow_provider_cordial.trends.plan import PlannedExport, describe_days, find_holes, plan_exports

FIRST = date(2026, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def days(*numbers: int) -> list[date]:
    return [day(number) for number in numbers]


def span(first: int, last: int) -> Timeframe:
    return Timeframe(day(first), day(last))


@pytest.mark.parametrize(
    ("holes", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"a": []}, [], id="no-hole"),
        pytest.param({"a": days(3), "b": days(3)}, [(("a", "b"), span(3, 3))], id="one-day-of-all"),
        pytest.param({"a": days(5, 4, 3)}, [(("a",), span(3, 5))], id="a-gap"),
        pytest.param(
            {"a": days(9), "b": days(9), "new": days(*range(10))},
            [(("new",), span(0, 9)), (("a", "b"), span(9, 9))],
            id="a-new-audience",
        ),
        pytest.param(
            {"a": days(1, 2, 3, 8, 9), "b": days(8, 9)},
            [(("a", "b"), span(8, 9)), (("a",), span(1, 3))],
            id="two-gaps",
        ),
        pytest.param(
            {"a": days(*range(40))}, [(("a",), span(9, 39)), (("a",), span(0, 8))], id="more-days-than-an-export-takes"
        ),
        pytest.param(
            {f"a{n}": days(0) for n in range(3)},
            [(("a0", "a1"), span(0, 0)), (("a2",), span(0, 0))],
            id="more-audiences-than-an-export-takes",
        ),
    ],
)
def test_usual_shapes_need_as_few_exports_as_possible(
    holes: Mapping[str, Collection[date]], expected: list[tuple[tuple[str, ...], Timeframe]]
) -> None:
    limit = 2 if "a2" in holes else 100
    found = plan_exports(holes, max_audiences=limit)
    assert sorted(found, key=str) == sorted((PlannedExport(*one) for one in expected), key=str)
    assert [one.timeframe.end for one in found] == sorted((one.timeframe.end for one in found), reverse=True)


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.sets(st.integers(0, 60)), max_size=6),
    st.integers(1, 20),
    st.integers(1, 4),
)
def test_every_hole_is_covered_once_and_nothing_else(
    holes: dict[str, set[int]], max_days: int, max_audiences: int
) -> None:
    planned = plan_exports(
        {audience: days(*numbers) for audience, numbers in holes.items()},
        max_days=max_days,
        max_audiences=max_audiences,
    )
    cells = [(audience, one) for export in planned for audience in export.audiences for one in export.timeframe]
    assert sorted(cells) == sorted((audience, day(number)) for audience in holes for number in holes[audience])
    assert sum(one.cells for one in planned) == len(cells)
    assert all(len(one.timeframe) <= max_days and len(one.audiences) <= max_audiences for one in planned)
    assert all(len(set(one.audiences)) == len(one.audiences) for one in planned)


def test_a_plan_is_what_an_export_takes() -> None:
    (planned,) = plan_exports({"a": days(0, 1)})
    assert planned.to_json() == {"audiences": ["a"], "timeframe": {"start": "2026-01-01", "end": "2026-01-02"}}


def covered(**audiences: tuple[int, int, int]) -> Coverage:
    """Return a coverage of ten days: those that are expected, loaded, and blank."""
    return Coverage(
        span(0, 9),
        *({name: bits[index] for name, bits in audiences.items()} for index in range(3)),
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, {"holes": {2}}, id="missing"),
        pytest.param(
            {"look_back": 2}, {"holes": {2, 8, 9}, "whole": {8, 9}, "blanks": {8, 9}, "new": {9}}, id="look-back"
        ),
        pytest.param({"ask_blanks_again": 4}, {"holes": {2}, "blanks": {6}}, id="young-blanks"),
        pytest.param({"ask_blanks_again": 99}, {"holes": {2}, "blanks": {0, 6}}, id="all-blanks"),
    ],
)
def test_what_is_asked_for(options: dict[str, int], expected: dict[str, set[int]]) -> None:
    whole = 0b1111111111
    coverage = covered(
        whole=(whole, whole, 0),
        holes=(whole, whole & ~0b100, 0),
        blanks=(whole, whole & ~0b1000001, 0b1000001),
        new=(0b1000000000, 0b1000000000, 0),
    )
    found = find_holes(coverage, **options)
    assert found == {name: {day(number) for number in numbers} for name, numbers in expected.items()}


@pytest.mark.parametrize("name", ["look_back", "ask_blanks_again"])
def test_a_negative_number_of_days_is_rejected(name: str) -> None:
    with pytest.raises(InvalidExportError, match=f"Invalid {name} -1: expected a number of days"):
        find_holes(covered(), **{name: -1})


def test_days_are_described_as_ranges() -> None:
    assert describe_days(days(3, 1, 2, 5)) == "2026-01-06, 2026-01-02 to 2026-01-04"


@pytest.mark.parametrize("limit", ["max_days", "max_audiences"])
def test_a_limit_below_1_is_rejected(limit: str) -> None:
    with pytest.raises(InvalidExportError, match=f"Invalid {limit} 0: expected 1 or more"):
        plan_exports({}, **{limit: 0})
