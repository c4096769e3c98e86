"""When the list is read, when reading stops, and what follows from a listing or its failure."""

from __future__ import annotations

import pytest

from airflow_provider_cordial.jobs.listing import MAX_FAILED_LISTINGS, ListingStrategy

JOBS = [f"j{number}" for number in range(10)]


def read_list(strategy: ListingStrategy, *pages: set[str], waiting: list[str] = JOBS) -> tuple[int, set[str]]:
    """Read pages as long as it is worthwhile; return their number and the jobs found on them."""
    listing = strategy.start(waiting)
    found: set[str] = set()
    for page in pages:
        if not (listing.missing and listing.is_worthwhile):
            break
        listing.add_page(page)
        found |= page
    strategy.finish(listing, waiting)
    return listing.pages, found


@pytest.mark.parametrize(
    ("due", "lookups", "expected"),
    [
        pytest.param(1, 0, False, id="one-lookup-costs-no-more-than-a-page"),
        pytest.param(2, 0, True, id="two-lookups-cost-more"),
        pytest.param(1, 1, True, id="the-second-lookup-over-time"),
        pytest.param(0, 5, False, id="nothing-is-due"),
    ],
)
def test_the_list_is_read_once_lookups_have_cost_as_much(due: int, lookups: int, expected: bool) -> None:
    strategy = ListingStrategy()
    for job_id in JOBS[:lookups]:
        strategy.record_lookup(job_id)
    assert strategy.should_list(JOBS[:due], JOBS) is expected


def test_a_single_job_is_always_looked_up() -> None:
    strategy = ListingStrategy()
    strategy.record_lookup("j0")
    assert not strategy.should_list(["j0"], ["j0"])


def test_a_listing_ends_when_all_jobs_are_found() -> None:
    assert read_list(ListingStrategy(), set(JOBS[:6]), set(JOBS[6:]), set()) == (2, set(JOBS))


def test_a_listing_ends_when_lookups_are_cheaper() -> None:
    pages, found = read_list(ListingStrategy(), set(JOBS[:7]), *[set[str]()] * 20)
    assert (pages, found) == (1 + 3, set(JOBS[:7]))


def test_unlisted_jobs_do_not_make_the_list_worthwhile() -> None:
    strategy = ListingStrategy()
    read_list(strategy, set(JOBS[:2]), *[set[str]()] * 20)
    assert not strategy.should_list(JOBS[2:], JOBS)
    # Lookups of unlisted jobs do not count against the list either.
    for job_id in JOBS[2:]:
        strategy.record_lookup(job_id)
    assert not strategy.should_list(JOBS[:1], JOBS)
    strategy.record_listed(JOBS[2:])
    for job_id in JOBS:
        strategy.record_lookup(job_id)
    assert strategy.should_list(JOBS[:3], JOBS)


def test_a_forgotten_job_is_no_longer_unlisted() -> None:
    strategy = ListingStrategy()
    read_list(strategy, set(JOBS[:8]), *[set[str]()] * 20)
    for job_id in JOBS[8:]:
        strategy.forget(job_id)
    assert strategy.start(JOBS).missing == set(JOBS)


def test_the_last_listing_sets_the_cost_of_the_list() -> None:
    strategy = ListingStrategy()
    read_list(strategy, *({job_id} for job_id in JOBS[:4]), set(JOBS))
    assert not strategy.should_list(JOBS[:5], JOBS)
    assert strategy.should_list(JOBS[:6], JOBS)


def test_a_failing_list_is_retried_and_then_read_less_often() -> None:
    strategy = ListingStrategy()
    assert [strategy.fail() for _ in range(MAX_FAILED_LISTINGS)] == [True] * (MAX_FAILED_LISTINGS - 1) + [False]
    assert not strategy.should_list(JOBS[:2], JOBS)
    assert strategy.should_list(JOBS[:3], JOBS)
    assert not strategy.fail()
    assert not strategy.should_list(JOBS[:4], JOBS)
    assert strategy.should_list(JOBS[:5], JOBS)


def test_an_outage_does_not_make_the_list_less_attractive() -> None:
    strategy = ListingStrategy()
    strategy.record_lookup_result(is_failed=True)
    for _ in range(20):
        strategy.fail(is_slow=True)
    assert strategy.should_list(JOBS[:2], JOBS)
    strategy.record_lookup_result(is_failed=False)
    strategy.fail(is_slow=True)
    assert not strategy.should_list(JOBS[:2], JOBS)


def test_a_slow_list_is_not_retried_at_once() -> None:
    strategy = ListingStrategy()
    assert not strategy.fail(is_slow=True)
    assert not strategy.should_list(JOBS[:2], JOBS)
    assert strategy.should_list(JOBS[:3], JOBS)


def test_an_unusable_list_is_not_read_until_the_key_changes() -> None:
    strategy = ListingStrategy()
    strategy.disable()
    assert not strategy.should_list(JOBS, JOBS)
    strategy.enable()
    assert strategy.should_list(JOBS, JOBS)
