"""Many waits on an account that allows few requests: ``rate_limit.py [WAITS] [REQUESTS_PER_MINUTE]``.

In one run the server reports the limit only in a 429, in the other in every answer. Every wait must end, and almost no
request may be rejected.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from http import HTTPStatus
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from waits import services
from waits.plan import Plan
from waits.runs import child, run_child

POLL_INTERVAL = 10.0

#: Seconds until the first and the last job end, and until the run is aborted.
FIRST_END, LAST_END, TIMEOUT = 15.0, 240.0, 900.0

#: The share of all requests that may be rejected.
MAX_REJECTED = 0.01


def run(waits: int, limit: int, headers: str) -> bool:
    """Run all waits, print the result, and return whether it meets the goal."""
    behaviour = {"rate_limit": limit, "rate_limit_headers": headers}
    plan = Plan("cordial", POLL_INTERVAL, seconds=0.0, timeout=TIMEOUT)
    with tempfile.TemporaryDirectory(prefix="cordial-limit-") as name:
        folder = Path(name)
        with services.sandbox(folder, {}, behaviour) as sandbox, child(folder, sandbox, plan) as process:
            measured = run_child(process, sandbox.add_jobs(waits, FIRST_END, LAST_END))
            statuses = Counter(request["status"] for request in sandbox.process.control.requests())
    ended, share = len(measured["arrivals"]), statuses[HTTPStatus.TOO_MANY_REQUESTS] / statuses.total()
    counted = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    print(f"Rate limit headers {headers}: {ended} of {waits} waits ended, in {measured['seconds']:.0f} s")
    print(f"  requests: {counted}; {share:.1%} rejected, goal < {MAX_REJECTED:.0%}", flush=True)
    return ended == waits and share < MAX_REJECTED


def main(waits: int, limit: int) -> int:
    print(f"{waits:,} waits, a poll every {POLL_INTERVAL:.0f} s; {limit} requests per minute are allowed")
    # A list: both run even if the first misses the goal.
    met = [run(waits, limit, headers) for headers in ("limited", "always")]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["1000"])[0]), int((sys.argv[2:] or ["60"])[0])))
