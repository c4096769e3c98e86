"""Many deferred waits in one event loop, as Airflow's triggerer runs them: compared with peers and a lower limit.

Each contender runs in a fresh process, and the service that it polls in another. All waits start at once, as after a
restart of the triggerer, and their jobs end one after another. The limit sends no requests: it sleeps until its job is
done.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from waits.goals import CORDIAL, DBT_CLOUD, LIMIT, NO_IDS, ONE_SECOND, ONE_SESSION, goals
from waits.plan import TICK
from waits.runs import Contender, Result, run
from waits.services import REQUESTS_KEPT

CONTENDERS = (
    Contender(LIMIT, "limit"),
    Contender(CORDIAL, "cordial"),
    Contender(ONE_SECOND, "cordial", poll_interval=1),
    # As many requests as dbt-cloud sends for the same number of waits.
    Contender(NO_IDS, "cordial", extra={"requests_per_minute": 6_000}, behaviour={"record_id": None}, counts=(1_000,)),
    Contender(DBT_CLOUD, "dbt_cloud"),
    Contender("databricks", "databricks"),
    Contender("naive", "naive"),
    Contender(ONE_SESSION, "one_session"),
    Contender("shared stream", "shared_stream"),
)

NOTES = f"""\
limit: sleeps until its job is done. naive: an aiohttp session per poll. shared stream: Airflow's own, listing all jobs.
CPU is that of the waiting process after its imports, with its logs off, including {1 / TICK:.0f} samples per second of
the loop's lag. Peak is its memory, and kB/wait the growth of its memory per wait. Delay is from Done to the event; a
wait without an event has an infinite delay. Lookups are those of an Airflow connection. Server is the CPU of the polled
process: near 100 % it is the bottleneck. The stand-in for dbt Cloud and Databricks uses TLS, because dbt Cloud's hook
requires it, with a certificate that is trusted through SSL_CERT_FILE; the sandbox uses plain HTTP."""

HEADER = (
    f"{'waits':>5} {'contender':16} {'requests/s':>10} {'new TCP':>7} {'CPU s':>6} {'% core':>6}"
    f" {'peak MB':>7} {'kB/wait':>7} {'lag ms p50':>10} {'p99':>6} {'max':>6}"
    f" {'events':>6} {'delay s p50':>11} {'p99':>5} {'lookups':>7} {'server %':>8}"
)


def row(result: Result) -> str:
    measured = result.measured
    rate = f"{result.requests / result.seconds:.1f}"
    if result.requests == REQUESTS_KEPT:
        rate = f"> {rate}"
    return (
        f"{result.count:5} {result.contender.name:16} {rate:>10} {measured['connects']:7}"
        f" {result.cpu:6.2f} {100 * result.cpu / result.seconds:6.1f}"
        f" {measured['peak'] / 1024:7.0f} {result.kilobytes_per_wait:7.1f}"
        f" {measured['lag_p50']:10.1f} {measured['lag_p99']:6.1f} {measured['lag_max']:6.0f}"
        f" {len(result.delays):6} {result.delay(0.5):11.2f} {result.delay(0.99):5.1f}"
        f" {measured['lookups']:7} {100 * result.server_cpu / result.seconds:8.1f}"
    )


def main(counts: list[int], names: list[str], seconds: float, poll_interval: float) -> None:
    # Some contenders open one connection per wait.
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
    print(f"{seconds:.0f} s, a poll every {poll_interval:.0f} s\n{HEADER}", flush=True)
    results: dict[tuple[str, int], Result] = {}
    for count in counts:
        for contender in CONTENDERS:
            if contender.name in names if names else contender.counts is None or count in contender.counts:
                result = results[contender.name, count] = run(contender, count, seconds, poll_interval)
                print(row(result), flush=True)
    print(f"\n{NOTES}\n")
    for goal in goals(results):
        print(goal)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waits", type=int, nargs="+", default=[100, 1_000, 5_000], help="numbers of waits at once")
    parser.add_argument("--only", nargs="+", default=[], choices=[contender.name for contender in CONTENDERS])
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of each run")
    parser.add_argument("--poll-interval", type=float, default=10.0, help="seconds between two polls")
    options = parser.parse_args()
    main(options.waits, options.only, options.seconds, options.poll_interval)
