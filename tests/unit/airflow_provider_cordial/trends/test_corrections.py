"""What is recorded of a load, and how much it may change."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.exceptions import ExcessiveChangeError, InvalidExportError
from airflow_provider_cordial.trends import Columns, OnBlank
from airflow_provider_cordial.trends.corrections import (
    Change,
    KnownCell,
    check_change,
    corrections_columns,
    measure,
    validate_corrections,
)
from airflow_provider_cordial.trends.tables import build_table
from tests.helpers.databases import serve_unknown
from tests.helpers.loads import TEN, batch
from tests.helpers.sandbox import SetConnection


@pytest.mark.parametrize("value", [0, 0.5, 1, 2.5, None])
def test_a_bound_is_a_number(value: float | None) -> None:
    validate_corrections(False, value, Columns())


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, True, "0.5", [1]])
def test_an_invalid_bound_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidExportError, match="Invalid max_change .*: expected a number of at least 0"):
        validate_corrections(False, value, Columns())


def test_an_invalid_choice_is_rejected() -> None:
    with pytest.raises(InvalidExportError, match="Invalid corrections 'yes': use True or False"):
        validate_corrections("yes", None, Columns())


def test_the_columns_are_named_as_those_of_the_table() -> None:
    columns = Columns(names={"contacts": "size", "snapshot_date": "day"}, scope={"account": "us"}, constants={"x": "y"})
    assert corrections_columns(columns) == {
        "audience": "audience",
        "day": "day",
        "old_size": "size",
        "new_size": "size",
        "job_id": "job_id",
        "corrected_at": "loaded_at",
        "account": "account",
    }


@pytest.mark.parametrize("name", ["corrected_at", "Old_Contacts"])
def test_a_column_of_the_same_name_is_rejected(name: str) -> None:
    with pytest.raises(InvalidExportError, match="Duplicate column name in the corrections table"):
        validate_corrections(True, None, Columns(scope={name: "us"}))


@pytest.mark.parametrize(
    ("old", "new", "bound", "text"),
    [
        (
            100,
            27,
            0.5,
            "change 73% of the known contacts in 'trends', above max_change 50%. The largest changes: 'a' on",
        ),
        (3, 4, 0.125, "change 33.4% of the known contacts in 'trends', above max_change 12.5%. "),
        (10_000, 10_001, 0, "change 0.1% of the known contacts in 'trends', above max_change 0%. "),
        (1, 1_000_000, 5, "change 99,999,900% of the known contacts in 'trends', above max_change 500%. "),
        (0, 1200, 2, "change the known contacts in 'trends' from 0 to 1,200, above max_change 200%. "),
    ],
)
def test_the_error_states_the_change(old: int, new: int, bound: float, text: str) -> None:
    change, largest = measure([KnownCell("a", TEN, old, new)])
    one = batch({"a": [new]}, days=[TEN], max_change=bound)
    with pytest.raises(ExcessiveChangeError) as held:
        check_change("trends", change, one, lambda: largest)
    assert held.value.message.startswith(f"The load would {text}")
    assert f"'a' on 2026-11-10: {old:,} -> {new:,}. The rows of the table are as before. " in held.value.message
    assert "raise max_change, or load without it" in held.value.message
    assert str(held.value).splitlines()[0].endswith("%.")
    assert isinstance(held.value, AirflowFailException)
    assert held.value.table == "trends"


def test_a_change_at_the_bound_is_loaded() -> None:
    assert check_change("trends", Change(3, 1), batch({}, max_change=1 / 3), list) == 0.3333
    assert check_change("trends", Change(0, 0), batch({}, max_change=0), list) == 0


def test_the_largest_changes_come_first() -> None:
    cells = [KnownCell(f"a{n}", TEN, 100, 100 + n % 7) for n in range(20)]
    change, largest = measure(cells)
    assert change == Change(2000, sum(n % 7 for n in range(20)))
    assert [(cell.audience, cell.new) for cell in largest] == [
        ("a6", 106),
        ("a13", 106),
        ("a5", 105),
        ("a12", 105),
        ("a19", 105),
    ]


Rows = dict[str, list[int | None]]

_ROWS = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.none() | st.integers(0, 3), min_size=2, max_size=2), min_size=1
)


@pytest.mark.parametrize("conn_type", ["sqlite", "unknown"])
@given(old=_ROWS, new=_ROWS, on_blank=st.sampled_from(["keep", "replace"]), bound=st.sampled_from([0, 0.3, 1, 9]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_corrections_and_bound_agree_with_the_definition(
    old: Rows,
    new: Rows,
    on_blank: OnBlank,
    bound: float,
    conn_type: str,
    tmp_path: Path,
    set_connection: SetConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "warehouse.db"
    path.unlink(missing_ok=True)
    set_connection("warehouse", conn_type=conn_type, host=str(path))
    if conn_type == "unknown":
        serve_unknown(monkeypatch, str(path))
    table = build_table("warehouse", "trends", Columns(), create=True)
    table.load(batch(old, corrections=True))

    pairs = [
        (name, day, before, after)
        for name, numbers in new.items()
        for day, before, after in zip(("2026-11-10", "2026-11-11"), old.get(name, [None] * 2), numbers, strict=True)
        if before is not None
    ]
    known = sum(before for *_, before, after in pairs if after is not None)
    changed = sum(abs(after - before) for *_, before, after in pairs if after is not None)
    expected = [pair for pair in pairs if pair[2] != pair[3] and (pair[3] is not None or on_blank == "replace")]
    one = batch(new, job_id="j2", on_blank=on_blank, corrections=True, max_change=bound)
    if changed and (not known or changed / known > bound):
        expected = []
        with pytest.raises(ExcessiveChangeError):
            table.load(one)
    else:
        result: Any = table.load(one)
        assert result.change == round(changed / known if changed else 0, 4)
        table.load(one)
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT audience, snapshot_date, old_contacts, new_contacts FROM trends_corrections")
        assert sorted(found.fetchall(), key=str) == sorted(expected, key=str)
