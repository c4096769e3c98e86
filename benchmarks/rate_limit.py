"""Many waits on an account that allows few requests: ``rate_limit.py [WAITS] [REQUESTS]``, the requests a minute.

Once the sandbox tells of its limit only when it turns a request away, and once in every answer. Every wait has to end,
and hardly a request may be turned away.
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
from waits.orders import Orders
from waits.runs import child, told

POLL_INTERVAL = 10.0

#: Seconds until the first and the last job end, and until the waits are given up.
FIRST_END, LAST_END, LONGEST = 15.0, 240.0, 900.0

#: How many of all requests may be turned away.
MOST_TURNED_AWAY = 0.01


def run(waits: int, limit: int, headers: str) -> bool:
    """Let all wait, print what it came to, and return whether that is good."""
    behaviour = {"rate_limit": limit, "rate_limit_headers": headers}
    orders = Orders("cordial", POLL_INTERVAL, seconds=0.0, longest=LONGEST)
    with tempfile.TemporaryDirectory(prefix="cordial-limit-") as name:
        folder = Path(name)
        with services.sandbox(folder, {}, behaviour) as sandbox, child(folder, sandbox, orders) as process:
            found = told(process, sandbox.add_jobs(waits, FIRST_END, LAST_END))
            statuses = Counter(request["status"] for request in sandbox.process.control.requests())
    ended, share = len(found["arrivals"]), statuses[HTTPStatus.TOO_MANY_REQUESTS] / statuses.total()
    counted = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    print(f"Rate limit headers {headers}: {ended} of {waits} waits ended, in {found['seconds']:.0f} s")
    print(f"  requests: {counted}; {share:.1%} turned away, goal < {MOST_TURNED_AWAY:.0%}", flush=True)
    return ended == waits and share < MOST_TURNED_AWAY


def main(waits: int, limit: int) -> int:
    print(f"{waits:,} waits, a look each {POLL_INTERVAL:.0f} s; {limit} requests a minute are allowed")
    # Both are run, whatever the first comes to.
    good = [run(waits, limit, headers) for headers in ("limited", "always")]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["1000"])[0]), int((sys.argv[2:] or ["60"])[0])))
