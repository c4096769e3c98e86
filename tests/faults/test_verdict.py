"""The verdict on a run notices each kind of damage."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.verdict import Result, Row

DAY = "2026-01-20"
SNAPSHOTS = {("opened", 7), ("purchased", 3)}
ROWS = [Row("opened", 7, "1"), Row("purchased", 3, "1")]


def job(job_id: str = "1", status: str = "Done") -> dict[str, Any]:
    return {"id": job_id, "status": status, "name": f"trends-{job_id}"}


def judge(jobs: list[dict[str, Any]], rows: list[Row], error: str | None = None) -> Result:
    result = Result(seed=1, exports=1)
    result.judge({DAY: jobs}, {DAY: rows}, {DAY: SNAPSHOTS}, {DAY: error} if error else {})
    return result


def counts(result: Result) -> tuple[int, int, int, int]:
    return len(result.duplicates), len(result.lost), len(result.wrong_rows), len(result.uncertain)


@pytest.mark.parametrize("before", [[], [job("0", "Failed")]])
def test_an_export_with_one_job_and_its_rows_is_right(before: list[dict[str, Any]]) -> None:
    assert counts(judge([*before, job()], ROWS)) == (0, 0, 0, 0)


@pytest.mark.parametrize("status", ["Done", "Pending"])
def test_a_second_job_is_a_duplicate(status: str) -> None:
    assert counts(judge([job(), job("2", status)], ROWS)) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("jobs", "rows"),
    [([], []), ([job(status="Pending")], []), ([job(status="Failed")], []), ([job()], []), ([job()], ROWS[:1])],
)
def test_an_export_without_a_job_or_rows_is_lost(jobs: list[dict[str, Any]], rows: list[Row]) -> None:
    assert counts(judge(jobs, rows)) == (0, 1, 0, 0)


def test_a_failed_run_is_lost_with_its_error() -> None:
    assert judge([job()], ROWS, "JobTimeoutError: late").lost == {DAY: "JobTimeoutError: late"}


@pytest.mark.parametrize("jobs", [[], [job()]])
def test_an_uncertain_export_is_not_lost(jobs: list[dict[str, Any]]) -> None:
    assert counts(judge(jobs, [], "SubmissionUncertainError: unknown")) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("rows", "lost", "wrong"),
    [
        ([Row("opened", 8, "1"), ROWS[1]], 1, 1),
        ([*ROWS, ROWS[0]], 0, 1),
        ([*ROWS, Row("other", 1, "1")], 0, 1),
        ([ROWS[0], Row("purchased", 3, "2")], 0, 1),
    ],
)
def test_a_wrong_row_is_noticed(rows: list[Row], lost: int, wrong: int) -> None:
    assert counts(judge([job()], rows)) == (0, lost, wrong, 0)


def test_a_day_that_was_not_asked_for_is_noticed() -> None:
    result = Result(seed=1, exports=0)
    result.judge({DAY: [job()]}, {DAY: ROWS}, {}, {})
    assert counts(result) == (0, 0, 2, 0)
