"""How much of the list of jobs a search reads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exports.search import JobSearch

NOW = datetime(2026, 11, 12, 11, tzinfo=UTC)


def job(minutes: float | None, name: str = "other", job_id: str = "j1") -> Job:
    start = (NOW + timedelta(minutes=minutes)).isoformat() if minutes is not None else None
    return Job.from_record({"status": "Done", "metadata": {"name": name}, "times": {"start": start}}, job_id)


def search(*jobs: Job, generation: int | None = 1, since: datetime | None = NOW) -> tuple[bool, int]:
    """Return whether the search ended before the list did, and how many jobs it has read."""
    read = 0

    def listed() -> Iterator[Job]:
        nonlocal read
        for one in jobs:
            read += 1
            yield one

    return JobSearch("n", generation, since).run(listed()), read


CASES: list[Any] = [
    pytest.param([job(3), job(2, "n"), job(1)], {}, (True, 2), id="stops-at-the-name"),
    pytest.param([job(3), job(2, "n"), job(1)], {"generation": 2}, (False, 3), id="another-generation"),
    pytest.param([job(3), job(2, "n-2"), job(1)], {"generation": 2}, (True, 2), id="its-generation"),
    pytest.param([job(3), job(2, "n"), job(1)], {"generation": None}, (False, 3), id="shared-name"),
    pytest.param([job(3), job(1), job(-1), job(-2)], {}, (True, 3), id="newest-first-stops-at-older-jobs"),
    pytest.param([job(3), job(-1), job(-2)], {"since": None}, (False, 3), id="unknown-time-of-the-submission"),
    pytest.param([job(-3), job(-2), job(-1), job(1, "n")], {}, (True, 4), id="oldest-first-is-read-to-the-name"),
    pytest.param([job(-3), job(-2), job(-1)], {}, (False, 3), id="oldest-first-is-read-to-the-end"),
    pytest.param([job(-1), job(-1)], {}, (False, 2), id="jobs-of-one-moment-show-no-order"),
    pytest.param([job(None), job(None), job(-1)], {}, (False, 3), id="jobs-that-have-not-started"),
    pytest.param([job(2, "n", ""), job(1)], {}, (False, 2), id="a-job-without-an-id"),
]


@pytest.mark.parametrize(("jobs", "options", "expected"), CASES)
def test_how_far_the_list_is_read(jobs: list[Job], options: dict[str, Any], expected: tuple[bool, int]) -> None:
    assert search(*jobs, **options) == expected
