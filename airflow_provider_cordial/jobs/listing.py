"""ListingStrategy: when to poll jobs through the list, and when one by one. Pure.

Polling one job costs one request; reading the list costs one request per page and polls all jobs on it. So jobs are
polled one by one until that has cost as much as the list, and then the list is read: never more than twice the cost of
the cheaper way alone, however many waits there are and however they started.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from airflow_provider_cordial.client.pages import MAX_PAGES

#: How many listings in a row may fail before jobs are polled one by one instead.
MAX_FAILED_LISTINGS = 3


@dataclass(slots=True)
class Listing:
    """One reading of the list.

    :param missing: the jobs that the pages so far did not contain.
    """

    missing: set[str]
    found: set[str] = field(default_factory=set)
    pages: int = 0
    _pages_in_vain: int = 0

    @property
    def is_worthwhile(self) -> bool:
        """Whether another page may cost less than polling the missing jobs one by one."""
        return self._pages_in_vain < len(self.missing)

    def add_page(self, found: set[str]) -> None:
        """Take the jobs of a page."""
        self.pages += 1
        self._pages_in_vain = 0 if found & self.missing else self._pages_in_vain + 1
        self.missing -= found
        self.found |= found


class ListingStrategy:
    """Decides from the cost of the list so far."""

    def __init__(self) -> None:
        self._is_usable = True
        #: Pages of the last listing.
        self._cost = 1
        #: Lookups of single jobs since then.
        self._lookups = 0
        self._failures = 0
        #: Jobs that a listing did not contain.
        self._unlisted: set[str] = set()

    def should_list(self, due: Collection[str], waiting: Collection[str]) -> bool:
        """Return whether to read the list now.

        :param due: the jobs to poll now.
        :param waiting: all jobs that are waited for.
        """
        listed = sum(job_id not in self._unlisted for job_id in due)
        return (
            self._is_usable
            and len(waiting) - len(self._unlisted) > self._cost
            and self._lookups + listed > self._cost
            and listed > 0
        )

    def start(self, waiting: Iterable[str]) -> Listing:
        """Start reading the list for the jobs that it may contain."""
        self._lookups = 0
        return Listing({job_id for job_id in waiting if job_id not in self._unlisted})

    def finish(self, listing: Listing, waiting: Collection[str]) -> None:
        """Learn from a listing that was read as far as it was worthwhile."""
        self._failures = 0
        self._cost = listing.pages
        self._unlisted |= listing.missing.intersection(waiting)

    def fail(self, *, is_slow: bool = False) -> bool:
        """Learn from a listing that failed; return whether the list should be read again for the same jobs.

        :param is_slow: whether the list is rate limited or timed out: reading it again would delay the jobs.
        """
        self._failures += 1
        if self._failures < MAX_FAILED_LISTINGS and not is_slow:
            return True
        # Perhaps only the list fails: poll one by one, and read the list less and less often.
        self._cost = min(MAX_PAGES, 2 * self._cost)
        return False

    def disable(self) -> None:
        """Stop reading the list: it cannot be used."""
        self._is_usable = False

    def enable(self) -> None:
        """Read the list again: another key may be allowed to."""
        self._is_usable = True

    def record_lookup(self, job_id: str) -> None:
        """Count a lookup of a single job that the list could have spared."""
        if job_id not in self._unlisted:
            self._lookups += 1

    def record_listed(self, job_ids: Iterable[str]) -> None:
        """Note that the list contains these jobs."""
        self._unlisted.difference_update(job_ids)

    def forget(self, job_id: str) -> None:
        """Forget a job that is not waited for any more."""
        self._unlisted.discard(job_id)
