"""The right rows, in every warehouse: whose they are, what a blank means, and all or nothing."""

from __future__ import annotations

import json
import os
import random
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import ExcessiveChangeError, TableError, UnsuitableTableError
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends import AudienceRow, Columns, LoadResult
from airflow_provider_cordial.trends.coverage import Coverage, read_coverage
from airflow_provider_cordial.trends.reconcile import Difference, find_differences
from airflow_provider_cordial.trends.tables import build_table
from airflow_provider_cordial.trends.tables.base import Cell
from tests.helpers.loads import ELEVEN, ODD, TEN, batch
from tests.helpers.sandbox import SetConnection
from tests.integration.warehouses import Warehouse
from tests.integration.warehouses.killed import kill_at

US, EU = Columns(scope={"account": "us"}), Columns(scope={"account": "eu"})

#: The columns of a table that was created by somebody else.
PLAIN = "audience {text}, snapshot_date DATE, contacts BIGINT, job_id {text}, loaded_at {moment}"

MOMENT = "2026-11-11 00:00:00"

#: More than a load asks a warehouse.
MOST_STEPS = 60


def test_another_account_keeps_its_rows(warehouse: Warehouse) -> None:
    warehouse.load(batch({"a": [1, 2]}, job_id="j1"), US)
    warehouse.load(batch({"a": [3, 4]}, job_id="j2"), EU)
    expected = [
        ("a", "2026-11-10", 1, "j1", "us"),
        ("a", "2026-11-10", 3, "j2", "eu"),
        ("a", "2026-11-11", 2, "j1", "us"),
        ("a", "2026-11-11", 4, "j2", "eu"),
    ]
    assert warehouse.rows("audience, snapshot_date, contacts, job_id, account") == expected
    assert warehouse.load(batch({"a": [5, 4]}, job_id="j2"), EU) == LoadResult(corrected=1, same=1)
    assert warehouse.load(batch({"a": [1, 2]}, job_id="j1"), US) == LoadResult(same=2)
    expected[1] = ("a", "2026-11-10", 5, "j2", "eu")
    assert warehouse.rows("audience, snapshot_date, contacts, job_id, account") == expected


def test_a_constant_changes_when_loaded_again(warehouse: Warehouse) -> None:
    for run in ("r1", "r1", "r2"):
        columns = Columns(scope={"account": "us"}, constants={"run": run})
        warehouse.load(batch({"a": [1, None]}), columns)
        assert warehouse.rows("contacts, account, run") == [(1, "us", run), (None, "us", run)]


@pytest.mark.parametrize("has_key", [True, False], ids=["with a key", "without a key"])
def test_each_cell_counts_once(warehouse: Warehouse, has_key: bool) -> None:
    if not has_key:
        warehouse.create(PLAIN)
    first: dict[str, list[int | None]] = {"a": [1, None], "b": [3, 4]}
    assert warehouse.load(batch(first)) == LoadResult(new=3, blank=1)
    assert warehouse.load(batch(first)) == LoadResult(same=3, blank=1)
    second = batch({"a": [7, 2], "b": [3, None], "c": [None, 6]}, job_id="j2")
    result = warehouse.load(second)
    assert result == LoadResult(new=2, same=1, corrected=1, blank=1, kept=1)
    assert result.rows == 6
    # A number that is kept also keeps the job that delivered it.
    assert warehouse.rows() == [
        ("a", "2026-11-10", 7, "j2"),
        ("a", "2026-11-11", 2, "j2"),
        ("b", "2026-11-10", 3, "j2"),
        ("b", "2026-11-11", 4, "j1"),
        ("c", "2026-11-10", None, "j2"),
        ("c", "2026-11-11", 6, "j2"),
    ]


def test_a_blank_replaces_a_number_on_request(warehouse: Warehouse) -> None:
    warehouse.load(batch({"a": [1, 2]}))
    assert warehouse.load(batch({"a": [None, 2]}, on_blank="replace")) == LoadResult(blank=1, same=1)
    assert [row[2] for row in warehouse.rows()] == [None, 2]


def test_other_audiences_and_days_stay(warehouse: Warehouse) -> None:
    nine = TEN - timedelta(days=1)
    warehouse.load(batch({"a": [1, 2, 3], "b": [4, 5, 6]}, days=[nine, TEN, ELEVEN]))
    # The day between the two did not come.
    assert warehouse.load(batch({"a": [7, 8]}, days=[ELEVEN, nine], job_id="j2")) == LoadResult(corrected=2)
    assert [row[2:] for row in warehouse.rows()] == [(8, "j2"), (2, "j1"), (7, "j2"), *((n, "j1") for n in (4, 5, 6))]


def test_nothing_that_came_deletes_nothing(warehouse: Warehouse) -> None:
    warehouse.load(batch({"a": [1, 2]}))
    before = warehouse.rows()
    assert warehouse.load(batch({})) == LoadResult()
    assert warehouse.load(batch({"a": []}, days=[])) == LoadResult()
    assert warehouse.rows() == before


def test_names_are_loaded_unchanged(warehouse: Warehouse) -> None:
    names = [*ODD, " spaced ", "NULL", "null", "two\r\nlines", "VIP", "vip", "Café", "Cafe", "é", "a ", "a", "😀"]
    for _ in range(2):
        warehouse.load(batch({name: [n, None] for n, name in enumerate(names)}))
        assert {row[0]: row[2] for row in warehouse.rows() if row[1] == str(TEN)} == {
            name: n for n, name in enumerate(names)
        }


@pytest.mark.parametrize(
    ("columns", "scope", "message"),
    [
        pytest.param(
            f"account {{text}}, {PLAIN}, PRIMARY KEY (account, audience, snapshot_date)",
            Columns(constants={"account": "eu"}),
            r"replace the rows of every account\. Add it to the scope",
            id="a column outside of the scope",
        ),
        pytest.param(
            f"account {{text}}, {PLAIN}, PRIMARY KEY (audience, snapshot_date)",
            EU,
            "Add account to the key",
            id="without the scope",
        ),
        pytest.param(
            f"{PLAIN}, UNIQUE (audience, snapshot_date, job_id)",
            Columns(),
            "replace the rows of every job_id",
            id="rows of each job",
        ),
        pytest.param(f"{PLAIN}, UNIQUE (audience)", Columns(), "Add snapshot_date to the key", id="without the day"),
    ],
)
def test_a_table_with_another_key_is_refused(warehouse: Warehouse, columns: str, scope: Columns, message: str) -> None:
    if warehouse.own_key is None:
        pytest.skip("keys are not enforced, or cannot be read")
    warehouse.create(columns)
    # The table may have another first column, the account.
    account = ["us"] if columns.startswith("account") else []
    warehouse.insert(*account, "a", TEN, 1, "j0", MOMENT)
    before = warehouse.rows("*")
    with pytest.raises(UnsuitableTableError, match="Table 'trends' has the unique key") as refused:
        warehouse.load(batch({"a": [8, 9]}), scope)
    assert re.search(message, refused.value.message)
    assert warehouse.rows("*") == before


def test_a_key_of_other_columns_is_accepted(warehouse: Warehouse) -> None:
    if warehouse.own_key is None:
        pytest.skip("keys are not enforced, or cannot be read")
    warehouse.create(f"{warehouse.own_key}, {PLAIN}, UNIQUE (snapshot_date, audience)")
    warehouse.load(batch({"a": [1, 2]}))
    assert warehouse.load(batch({"a": [1, 3]})) == LoadResult(same=1, corrected=1)
    assert [row[2] for row in warehouse.rows()] == [1, 3]


def test_rows_that_are_there_twice_become_one(warehouse: Warehouse) -> None:
    warehouse.create(PLAIN)
    for size in (1, 2):
        warehouse.insert("a", TEN, size, f"j{size}", MOMENT)
    warehouse.load(batch({"a": [5, 6]}, job_id="j3"))
    assert warehouse.rows() == [("a", "2026-11-10", 5, "j3"), ("a", "2026-11-11", 6, "j3")]


def test_a_load_that_fails_halfway_changes_nothing(warehouse: Warehouse) -> None:
    warehouse.create(f"{PLAIN}, CHECK (contacts < 1000)")
    warehouse.load(batch({"a": [1, 2], "b": [3, 4]}))
    before = warehouse.rows()
    with pytest.raises(TableError, match="(?s)Table '.*trends' .*cannot") as failed:
        warehouse.load(batch({"a": [5, 6], "b": [7, 9999]}, job_id="j2"))
    assert "rows of the table are as before" in str(failed.value)
    assert warehouse.rows() == before


def test_a_missing_table_is_a_typed_error(warehouse: Warehouse) -> None:
    with pytest.raises(TableError, match="trends") as failed:
        warehouse.load(batch({"a": [1, 2]}), create=False)
    assert "create_table=True creates a missing table" in str(failed.value)
    assert failed.value.table == warehouse.table
    assert not failed.value.retry_helps


def test_a_name_that_is_too_long_is_rejected_whole(warehouse: Warehouse) -> None:
    warehouse.load(batch({"a": [1, 2]}))
    before = warehouse.rows()
    name = "x" * 600
    if warehouse.longest_name < len(name):
        with pytest.raises(TableError, match="rows of the table are as before"):
            warehouse.load(batch({"a": [3, 4], name: [5, 6]}))
        assert warehouse.rows() == before
    else:
        assert warehouse.load(batch({"a": [1, 2], name: [5, 6]})) == LoadResult(same=2, new=2)


def test_disjoint_ranges_are_loaded_at_once(warehouse: Warehouse) -> None:
    if not warehouse.is_concurrent:
        pytest.skip("one load at a time")
    warehouse.load(batch({"other": [0, 0]}))
    errors: list[BaseException] = []

    def run(number: int) -> None:
        days = [TEN + timedelta(days=31 * number + day) for day in range(31)]
        try:
            warehouse.load(batch({f"a{n}": [number] * 31 for n in range(50)}, days=days), create=number % 2 == 0)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    for _ in range(2):
        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert warehouse.run(f"SELECT count(*) FROM {warehouse.table} WHERE audience <> 'other'") == [(8 * 31 * 50,)]


def test_overlapping_loads_at_once_end_as_one_after_the_other(warehouse: Warehouse) -> None:
    if not warehouse.is_concurrent:
        pytest.skip("one load at a time")
    warehouse.load(batch({"other": [0, 0]}))
    names = [f"a{n}" for n in range(50)]
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            warehouse.load(batch({name: [number, number] for name in names}, job_id=f"j{number}"), create=False)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    rows = [row for row in warehouse.rows() if row[0] != "other"]
    assert len(rows) == 2 * len(names)
    # Those of one load, whichever was last.
    assert len({row[2:] for row in rows}) == 1


@pytest.mark.parametrize("corrections", [False, True], ids=["alone", "with corrections"])
def test_a_load_killed_at_each_step_is_whole_or_not_at_all(
    warehouse: Warehouse, pytestconfig: pytest.Config, corrections: bool
) -> None:
    if not warehouse.steps:
        pytest.skip("make kill-loads kills it at random moments")
    old: dict[str, list[int | None]] = {"a": [1, None], "b": [3, 4]}
    new: dict[str, list[int | None]] = {"a": [5, 6], "b": [7, 8], "c": [None, 9]}
    # In make test some of them, which are others in each run.
    every = 1 if pytestconfig.getoption("--warehouse-table") else 3

    def read() -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        return warehouse.rows(), warehouse.corrections() if corrections else []

    for step in range(random.randint(1, every), MOST_STEPS, every):
        warehouse.drop()
        warehouse.load(batch(old, corrections=corrections))
        before = read()
        was_killed = kill_at(warehouse, batch(new, job_id="j2", corrections=corrections), step)
        found = read()
        warehouse.load(batch(new, job_id="j2", corrections=corrections))
        after = read()
        assert [row[2] for row in after[0]] == [5, 6, 7, 8, None, 9]
        assert [row[2:4] for row in after[1]] == ([(1, 5), (3, 7), (4, 8)] if corrections else [])
        early = [] if warehouse.records_with_the_load else [(before[0], after[1])]
        assert found in (before, after, *early), f"killed at step {step}"
        assert warehouse.leftovers() == (), f"killed at step {step}"
        if not was_killed:
            assert step > every
            return
    raise AssertionError


def test_corrections_are_recorded_once(warehouse: Warehouse) -> None:
    names = [*ODD, "a"]
    columns = Columns(scope={"account": "us"}, constants={"run": "r1"})
    first = batch({"kept": [1, 2], "same": [3, None], **{name: [5, 6] for name in names}}, corrections=True)
    assert warehouse.load(first, columns) == LoadResult(new=3 + 2 * len(names), blank=1)
    assert warehouse.corrections() == []
    second = batch(
        {"kept": [None, 2], "same": [3, 4], "new": [None, 1], **{name: [5, 9] for name in names}},
        job_id="j2",
        corrections=True,
    )
    expected = sorted([(name, "2026-11-11", 6, 9, "j2") for name in names], key=str)
    for _ in range(2):
        warehouse.load(second, columns)
        assert warehouse.corrections() == expected
    moments = {str(moment)[:19].replace("T", " ") for (moment,) in warehouse.corrections("corrected_at")}
    assert moments == {f"{second.loaded_at:%Y-%m-%d %H:%M:%S}"}
    assert {account for (account,) in warehouse.corrections("account")} == {"us"}
    # A load that does not ask for them records none, and the next one records the same correction again.
    warehouse.load(batch({"a": [5, 6]}, job_id="j1"), columns)
    warehouse.load(batch({"a": [5, 9]}, job_id="j2", corrections=True), columns)
    assert warehouse.corrections() == sorted([*expected, ("a", "2026-11-11", 6, 9, "j2")], key=str)


def test_corrections_are_those_of_the_scope(warehouse: Warehouse) -> None:
    for size in (1, 2):
        warehouse.load(batch({"a": [size, size]}, corrections=True), US)
    warehouse.load(batch({"a": [7, 7]}, corrections=True), EU)
    warehouse.load(batch({"a": [7, 8]}, corrections=True), EU)
    assert warehouse.corrections("account, old_contacts, new_contacts") == [
        ("eu", 7, 8),
        ("us", 1, 2),
        ("us", 1, 2),
    ]


def test_the_corrections_table_has_the_names_of_the_columns(warehouse: Warehouse) -> None:
    columns = Columns(names={"audience": "segment", "snapshot_date": "day", "contacts": "size", "job_id": "job"})
    for size in (1, 2):
        warehouse.load(batch({"a": [size, 3]}, corrections=True), columns)
    assert warehouse.corrections("segment, day, old_size, new_size, job") == [("a", "2026-11-10", 1, 2, "j1")]


def test_a_number_that_is_replaced_by_a_blank_is_a_correction(warehouse: Warehouse) -> None:
    warehouse.load(batch({"a": [1, 2]}))
    lost = batch({"a": [None, 3]}, job_id="j2", on_blank="replace", corrections=True, max_change=0.5)
    assert warehouse.load(lost) == LoadResult(blank=1, corrected=1, change=0.5)
    assert warehouse.corrections() == [("a", "2026-11-10", 1, None, "j2"), ("a", "2026-11-11", 2, 3, "j2")]
    assert warehouse.load(lost) == LoadResult(blank=1, same=1, change=0.0)
    assert len(warehouse.corrections()) == 2


def test_corrections_of_a_table_without_a_key_are_recorded(warehouse: Warehouse) -> None:
    warehouse.create(PLAIN)
    for size in (1, 2):
        warehouse.insert("a", TEN, size, f"j{size}", f"2026-11-1{size} 00:00:00")
    warehouse.insert("b", TEN, 3, "j1", MOMENT)
    warehouse.load(batch({"a": [5, 6], "b": [3, 4], "c": [1, 1]}, job_id="j3", corrections=True))
    ((audience, *_, old, new, job_id),) = warehouse.corrections()
    # Of two rows either may be the one that is compared.
    assert (audience, new, job_id) == ("a", 5, "j3")
    assert old in (1, 2)


def test_a_load_that_fails_records_no_corrections(warehouse: Warehouse) -> None:
    warehouse.create(f"{PLAIN}, CHECK (contacts < 1000)")
    warehouse.load(batch({"a": [1, 2], "b": [3, 4]}, corrections=True))
    with pytest.raises(TableError):
        warehouse.load(batch({"a": [5, 6], "b": [7, 9999]}, job_id="j2", corrections=True))
    assert warehouse.corrections() == []
    warehouse.load(batch({"a": [5, 6], "b": [7, 8]}, job_id="j2", corrections=True))
    assert [row[2:4] for row in warehouse.corrections()] == [(1, 5), (2, 6), (3, 7), (4, 8)]


def test_a_missing_corrections_table_is_an_error_with_its_statement(warehouse: Warehouse) -> None:
    warehouse.load(batch({"a": [1, 2]}), US)
    before = warehouse.rows()
    second = batch({"a": [3, 4]}, job_id="j2", corrections=True)
    with pytest.raises(TableError, match=f"Table '{warehouse.table}_corrections' of connection") as failed:
        warehouse.load(second, US, create=False)
    assert warehouse.rows() == before
    assert failed.value.table == f"{warehouse.table}_corrections"
    assert not failed.value.retry_helps
    warehouse.run(failed.value.message.partition("or run: ")[2])
    warehouse.load(second, US, create=False)
    assert [row[2:4] for row in warehouse.corrections()] == [(1, 3), (2, 4)]


@pytest.mark.parametrize("has_key", [True, False], ids=["with a key", "without a key"])
def test_a_change_above_the_bound_writes_nothing(warehouse: Warehouse, has_key: bool) -> None:
    if not has_key:
        warehouse.create(PLAIN)
    first: dict[str, list[int | None]] = {"a": [100, 200], "b": [300, None], "c": [400, 0]}
    options: dict[str, Any] = {"corrections": True, "max_change": 0.5}
    assert warehouse.load(batch(first, **options)) == LoadResult(new=5, blank=1, change=0.0)
    before = warehouse.rows()
    # 90 + 500 of 1000; a new number and a blank are not a change.
    jump: dict[str, list[int | None]] = {"a": [10, 700], "b": [300, 9], "c": [None, 0], "d": [1, 1]}
    with pytest.raises(ExcessiveChangeError) as held:
        warehouse.load(batch({**jump, "c": [400, 0]}, job_id="j2", **options))
    assert held.value.message.startswith(
        f"The load would change 59% of the known contacts in '{warehouse.table}', above max_change 50%. The largest "
        "changes: 'a' on 2026-11-11: 200 -> 700; 'a' on 2026-11-10: 100 -> 10. "
    )
    assert warehouse.rows() == before
    assert warehouse.corrections() == []
    within = batch({**jump, "c": [400, 0]}, job_id="j2", corrections=True, max_change=0.59)
    assert warehouse.load(within) == LoadResult(new=3, same=3, corrected=2, change=0.59)
    assert len(warehouse.corrections()) == 2
    with pytest.raises(ExcessiveChangeError, match="from 0 to 5, above max_change 0%"):
        warehouse.load(batch({"c": [None, 5]}, max_change=0))


def test_overlapping_loads_at_once_record_each_correction(warehouse: Warehouse) -> None:
    if not warehouse.is_concurrent:
        pytest.skip("one load at a time")
    names = [f"a{n}" for n in range(20)]
    warehouse.load(batch({name: [100, 100] for name in names}, corrections=True))
    errors: list[BaseException] = []

    def run(number: int) -> None:
        one = batch({name: [number, number] for name in names}, job_id=f"j{number}", corrections=True)
        try:
            warehouse.load(one, create=False)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    chains: dict[tuple[str, str], dict[int, int]] = {}
    for audience, day, old, new, _ in warehouse.corrections():
        assert chains.setdefault((audience, day), {}).setdefault(old, new) == new
    for audience, day, contacts, _ in warehouse.rows():
        number, seen = 100, []
        while (number := chains[audience, day].get(number, -1)) >= 0:
            seen.append(number)
        assert sorted(seen) == [0, 1, 2, 3]
        assert seen[-1] == contacts


def test_more_rows_than_a_statement_takes(warehouse: Warehouse) -> None:
    days = [TEN + timedelta(days=n) for n in range(31)]
    names = [f"audience {n}" for n in range(700)]
    sizes: list[int | None] = [10_000_000_000 + n for n in range(31)]
    assert warehouse.load(batch(dict.fromkeys(names, sizes), days=days)) == LoadResult(new=31 * 700)
    changed = [*sizes[:-1], None]
    result = warehouse.load(batch(dict.fromkeys(names, changed), days=days))
    assert result == LoadResult(same=30 * 700, kept=700)


def test_the_table_says_what_it_has(warehouse: Warehouse) -> None:
    nine = TEN - timedelta(days=1)
    week = Timeframe(nine - timedelta(days=1), ELEVEN)

    def ask(columns: Columns, audiences: list[str] | dict[str, date], *, create: bool = False) -> Coverage:
        return read_coverage(
            "warehouse",
            warehouse.table,
            audiences,
            week,
            columns=columns,
            create_table=create,
            staging=warehouse.staging,
        )

    assert ask(US, ["a"], create=True).missing() == {"a": [*week]}
    warehouse.load(batch({"a": [1, None], ODD[2]: [3, 4], "other": [5, 6]}), US)
    warehouse.load(batch({"a": [7, 8], "b": [9, None]}, days=[nine, TEN]), EU)
    found = ask(US, {"a": nine, ODD[2]: TEN, "b": week.start})
    assert found.missing() == {"a": [nine], "b": [*week]}
    assert found.blanks() == {"a": [ELEVEN]}
    assert found.counts() == {"loaded": 3, "blank": 1, "missing": 5}
    assert ask(EU, ["b"]).missing() == {"b": [week.start, ELEVEN]}
    assert ask(US, [ODD[2]]).missing() == {ODD[2]: [week.start, nine]}


def test_each_difference_from_a_file_is_found(warehouse: Warehouse) -> None:
    days = [TEN - timedelta(days=1), TEN, ELEVEN]
    stored: dict[str, list[int | None]] = {"a": [1, None, 3], ODD[2]: [4, 5, None], "VIP": [6, 7, 8]}
    warehouse.load(batch(stored, days=days), US)
    warehouse.load(batch({"b": [9, 9, 9]}, days=days), EU)
    before = warehouse.rows()
    # Without the day that is not there, a number, a blank, an audience of another account, and a namesake.
    file: dict[str, list[int | None]] = {"a": [2, 2], ODD[2]: [5, None], "b": [None, 10], "vip": [7, None]}
    rows = [AudienceRow(name, contacts) for name, contacts in file.items()]
    table = build_table("warehouse", warehouse.table, US, staging=warehouse.staging)

    def read(audiences: Sequence[str]) -> Iterator[Cell]:
        return table.cells(audiences, Timeframe(TEN, ELEVEN))

    for size in (1, 100):
        found = find_differences(rows, days[1:], read, batch=size)
        assert [*found] == [
            Difference("a", TEN, "blank", None, 2),
            Difference("a", ELEVEN, "changed", 3, 2),
            Difference("b", ELEVEN, "missing", None, 10),
            Difference("vip", TEN, "missing", None, 7),
        ]
    lost = find_differences([AudienceRow("VIP", [None, 8])], days[1:], read)
    assert [*lost] == [Difference("VIP", TEN, "lost", 7, None)]
    assert warehouse.rows() == before


def test_a_password_is_in_no_error(warehouse: Warehouse, set_connection: SetConnection) -> None:
    if not warehouse.has_password:
        pytest.skip("has no password")
    fields = json.loads(os.environ["AIRFLOW_CONN_WAREHOUSE"])
    set_connection("warehouse", **{**fields, "password": "wrong-secret-123"})
    with pytest.raises(TableError) as failed:
        warehouse.load(batch({"a": [1, 2]}))
    assert "wrong-secret-123" not in str(failed.value)
    assert failed.value.__cause__ is not None
