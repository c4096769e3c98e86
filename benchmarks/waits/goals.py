"""The goals of a run, and whether they were reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from waits.runs import Result

LIMIT, CORDIAL, ONE_SECOND, NO_IDS = "limit", "cordial", "cordial, 1 s", "cordial, no ids"
DBT_CLOUD, ONE_SESSION = "dbt-cloud", "one session"

#: New connections per poll of all jobs: only one is opened and kept.
HARDLY_ANY = 0.5

Results = Mapping[tuple[str, int], Result]


@dataclass(frozen=True)
class Goal:
    """A figure that should be no larger than ``most``."""

    text: str
    most: float
    figure: float

    def __str__(self) -> str:
        verdict = "OK" if self.figure <= self.most else "MISSED"
        return f"{verdict:6} {self.text:64} {self.figure:8.3f}, goal <= {self.most:.3f}"


def goals(results: Results) -> Iterator[Goal]:
    """Yield the goals for which all runs were made."""
    yield from cost_goals(results, 1_000)
    yield from scale_goals(results, 5_000)


def cost_goals(results: Results, count: int) -> Iterator[Goal]:
    limit, ours, often, singly, peer = (
        results.get((name, count)) for name in (LIMIT, CORDIAL, ONE_SECOND, NO_IDS, DBT_CLOUD)
    )
    at = f"{count:,} waits:"
    if ours and peer:
        floor = f" (the limit's: {limit.cpu / peer.cpu:.3f})" if limit else ""
        yield Goal(f"{at} CPU, of dbt-cloud's{floor}", 1 / 8, ours.cpu / peer.cpu)
    if ours and limit:
        yield Goal(f"{at} CPU, of the limit's", 1.5, ours.cpu / limit.cpu)
    if often and peer:
        yield Goal(f"{at} each second: delay p50, of dbt-cloud's", 1 / 8, often.delay(0.5) / peer.delay(0.5))
        yield Goal(f"{at} each second: CPU, of dbt-cloud's", 1, often.cpu / peer.cpu)
    if singly and peer:
        yield Goal(f"{at} no ids: CPU a request, of dbt-cloud's", 1 / 5, cpu_a_request(singly) / cpu_a_request(peer))


def scale_goals(results: Results, count: int) -> Iterator[Goal]:
    ours, one_each = results.get((CORDIAL, count)), results.get((ONE_SESSION, count))
    at = f"{count:,} waits:"
    if ours:
        polls = ours.seconds / ours.poll_interval
        yield Goal(f"{at} lag p99, ms", 5, ours.found["lag_p99"])
        yield Goal(f"{at} kB a wait", 20, ours.kilobytes_a_wait)
        yield Goal(f"{at} waits without an event", 0, count - len(ours.delays))
        yield Goal(f"{at} delay p50, of the interval", 0.6, ours.delay(0.5) / ours.poll_interval)
        yield Goal(f"{at} new connections a poll", HARDLY_ANY, ours.found["connects"] / polls)
        yield Goal(f"{at} lookups of the Airflow connection", 1, ours.found["lookups"])
    if ours and one_each:
        share = ours.requests / one_each.requests
        yield Goal(f"{at} requests, of one GET a wait and interval", 1 / 75, share)


def cpu_a_request(result: Result) -> float:
    return result.cpu / result.requests
