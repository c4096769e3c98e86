"""The goals of a run, and whether they are met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from waits.runs import Result

LIMIT, CORDIAL, ONE_SECOND, NO_IDS = "limit", "cordial", "cordial, 1 s", "cordial, no ids"
DBT_CLOUD, ONE_SESSION = "dbt-cloud", "one session"

#: Maximum new connections per poll of all jobs: one connection is opened and kept.
MAX_CONNECTIONS_PER_POLL = 0.5

Results = Mapping[tuple[str, int], Result]


@dataclass(frozen=True)
class Goal:
    """A figure that must not exceed ``maximum``."""

    text: str
    maximum: float
    figure: float

    def __str__(self) -> str:
        verdict = "OK" if self.figure <= self.maximum else "MISSED"
        return f"{verdict:6} {self.text:64} {self.figure:8.3f}, goal <= {self.maximum:.3f}"


def goals(results: Results) -> Iterator[Goal]:
    """Yield the goals for which all needed runs exist."""
    yield from cost_goals(results, 1_000)
    yield from scale_goals(results, 5_000)


def cost_goals(results: Results, count: int) -> Iterator[Goal]:
    limit, ours, frequent, lookups, peer = (
        results.get((name, count)) for name in (LIMIT, CORDIAL, ONE_SECOND, NO_IDS, DBT_CLOUD)
    )
    at = f"{count:,} waits:"
    if ours and peer:
        floor = f" (limit: {limit.cpu / peer.cpu:.3f})" if limit else ""
        yield Goal(f"{at} CPU, relative to dbt-cloud{floor}", 1 / 8, ours.cpu / peer.cpu)
    if ours and limit:
        yield Goal(f"{at} CPU, relative to the limit", 1.5, ours.cpu / limit.cpu)
    if frequent and peer:
        yield Goal(f"{at} each second: delay p50, relative to dbt-cloud", 1 / 8, frequent.delay(0.5) / peer.delay(0.5))
        yield Goal(f"{at} each second: CPU, relative to dbt-cloud", 1, frequent.cpu / peer.cpu)
    if lookups and peer:
        ratio = cpu_per_request(lookups) / cpu_per_request(peer)
        yield Goal(f"{at} no ids: CPU per request, relative to dbt-cloud", 1 / 5, ratio)


def scale_goals(results: Results, count: int) -> Iterator[Goal]:
    ours, one_each = results.get((CORDIAL, count)), results.get((ONE_SESSION, count))
    at = f"{count:,} waits:"
    if ours:
        polls = ours.seconds / ours.poll_interval
        yield Goal(f"{at} lag p99, ms", 5, ours.measured["lag_p99"])
        yield Goal(f"{at} kB per wait", 20, ours.kilobytes_per_wait)
        yield Goal(f"{at} waits without an event", 0, count - len(ours.delays))
        yield Goal(f"{at} delay p50, relative to the interval", 0.6, ours.delay(0.5) / ours.poll_interval)
        yield Goal(f"{at} new connections per poll", MAX_CONNECTIONS_PER_POLL, ours.measured["connects"] / polls)
        yield Goal(f"{at} lookups of the Airflow connection", 1, ours.measured["lookups"])
    if ours and one_each:
        share = ours.requests / one_each.requests
        yield Goal(f"{at} requests, relative to one GET per wait and interval", 1 / 75, share)


def cpu_per_request(result: Result) -> float:
    return result.cpu / result.requests
