"""ListingStrategy: when to poll jobs through the list, and when one by one. Pure.

A lookup costs one request per job; reading the list costs one request per page and polls all jobs on it. Jobs are
polled one by one until that has cost as much as the list, and then the list is read. This never costs more than twice
the cheaper way alone, however many waits there are and whenever they started.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from airflow_provider_cordial.client.pages import MAX_PAGES

#: How many listings in a row may fail before jobs are polled one by one instead.
MAX_FAILED_LISTINGS = 3


@dataclass(slots=True)
class Listing:
    """One reading of the list.

    :param missing: the jobs that the pages so far did not contain.
    """

    missing: set[str]
    pages: int = 0
    _useless_pages: int = 0

    @property
    def is_worthwhile(self) -> bool:
        """Whether another page may cost less than polling the missing jobs one by one."""
        return self._useless_pages < len(self.missing)

    def add_page(self, found: set[str]) -> None:
        """Record the jobs of a page."""
        self.pages += 1
        self._useless_pages = 0 if found & self.missing else self._useless_pages + 1
        self.missing -= found


class ListingStrategy:
    """Chooses between the list and lookups, by what each has cost so far."""

    def __init__(self) -> None:
        self._is_usable = True
        #: Pages of the last listing.
        self._cost = 1
        #: Lookups of single jobs since then.
        self._lookups = 0
        self._failures = 0
        #: Whether the last lookup failed too.
        self._do_lookups_fail = False
        #: Jobs that were missing from a listing.
        self._unlisted: set[str] = set()

    def should_list(self, due: Collection[str], waiting: Collection[str]) -> bool:
        """Return whether to read the list now.

        :param due: the jobs to poll now.
        :param waiting: all jobs with a subscription.
        """
        listable = sum(job_id not in self._unlisted for job_id in due)
        return (
            self._is_usable
            and len(waiting) - len(self._unlisted) > self._cost
            and self._lookups + listable > self._cost
            and listable > 0
        )

    def start(self, waiting: Iterable[str]) -> Listing:
        """Start reading the list for the jobs that it may contain."""
        self._lookups = 0
        return Listing({job_id for job_id in waiting if job_id not in self._unlisted})

    def finish(self, listing: Listing, waiting: Collection[str]) -> None:
        """Record the cost of a listing that did not fail, and the jobs that it did not contain."""
        self._failures = 0
        self._cost = listing.pages
        self._unlisted |= listing.missing.intersection(waiting)

    def fail(self, *, is_slow: bool = False) -> bool:
        """Record a failed listing; return whether to read the list again for the same jobs.

        :param is_slow: whether the list is rate limited, rejected, or timed out: reading it again would delay the jobs.
        """
        self._failures += 1
        if self._failures < MAX_FAILED_LISTINGS and not is_slow:
            return True
        # Perhaps only the list fails: poll jobs one by one, and read the list less often each time. If lookups fail as
        # well, the failure proves nothing about the list, which must be used again once the failure is over.
        if not self._do_lookups_fail:
            self._cost = min(MAX_PAGES, 2 * self._cost)
        return False

    def disable(self) -> None:
        """Stop reading the list: it cannot be used."""
        self._is_usable = False

    def enable(self) -> None:
        """Allow reading the list again: a new key may have the permission."""
        self._is_usable = True

    def record_lookup(self, job_id: str) -> None:
        """Count a lookup that a listing could have replaced."""
        if job_id not in self._unlisted:
            self._lookups += 1

    def record_lookup_result(self, *, is_failed: bool) -> None:
        """Record whether a lookup failed for a reason that does not concern its job."""
        self._do_lookups_fail = is_failed

    def record_listed(self, job_ids: Iterable[str]) -> None:
        """Record that the list contains these jobs."""
        self._unlisted.difference_update(job_ids)

    def forget(self, job_id: str) -> None:
        """Forget a job without subscriptions."""
        self._unlisted.discard(job_id)
