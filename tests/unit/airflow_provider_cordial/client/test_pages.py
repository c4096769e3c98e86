"""The paginator: when the list of jobs has ended, and when that is not known."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cordial.client.pages import JobPages


def rows(*ids: int, status: str = "Pending") -> list[dict[str, Any]]:
    return [{"id": str(number), "status": status} for number in ids]


def read(pages: JobPages, *answers: list[dict[str, Any]]) -> tuple[int, int, bool]:
    """Return the number of requests, the number of rows, and whether the list was complete."""
    remaining, requests, count = list(answers), 0, 0
    while pages.next_page is not None:
        requests += 1
        assert pages.next_page == requests
        count += len(pages.add(remaining.pop(0)))
    return requests, count, pages.is_complete


NAMELESS = [{"status": "Done"}, {"status": "Pending"}]

CASES: list[Any] = [
    pytest.param([[]], (1, 0, True), id="empty"),
    pytest.param([rows(1, 2), rows(3), []], (3, 3, True), id="a-short-page-is-not-the-last"),
    pytest.param([rows(1, 2), rows(1, 2)], (2, 2, False), id="same-page-again"),
    pytest.param([rows(1, 2), rows(1, 2, status="Done")], (2, 2, False), id="same-page-after-a-status-change"),
    pytest.param([rows(1, 2), rows(2, 3), []], (3, 4, True), id="overlap-is-not-the-same-page"),
    pytest.param([NAMELESS, NAMELESS], (2, 2, False), id="same-page-without-ids"),
    pytest.param([rows(1), rows(2), rows(3)], (3, 3, False), id="cut-off"),
]


@pytest.mark.parametrize(("answers", "expected"), CASES)
def test_pages_are_read_to_the_end_or_cut_off(answers: list[Any], expected: tuple[int, int, bool]) -> None:
    assert read(JobPages(max_pages=3), *answers) == expected


def test_a_short_page_ends_the_list_where_the_caller_accepts_that() -> None:
    pages = JobPages(stop_at_short_page=True)
    assert read(pages, rows(1, 2), rows(3, 4), rows(5)) == (3, 5, True)


def test_a_first_short_page_is_not_known_to_be_short() -> None:
    pages = JobPages(stop_at_short_page=True)
    assert read(pages, rows(1), []) == (2, 1, True)
