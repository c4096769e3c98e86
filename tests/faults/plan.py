"""Which faults and kills a run of Airflow has to survive, drawn from a seed.

The same seed gives the same decks of faults and the same sequence of kills. How requests and processes interleave is up
to the machine, so a repeated run meets the same faults at other moments.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tests.faults.proxy import Fault, RequestKind
from tests.faults.secret_forms import forms_of

#: With every character that some encoding changes, so that all forms differ.
API_KEY = "Kö\"y & <of>  the/test's 100% \\run+4711"
SFTP_PASSWORD = "Pä\"ss & <word>  of/the's 50% \\sftp+0815"

#: In every error page that repeats a secret; the message that quotes the page contains it.
ECHO = "Echo of the request"

#: Forms that no server writes, or that nobody could recognize in an answer.
_NEVER_REPEATED = ("hexadecimal", "first half")

KillKind = Literal["task", "supervisor", "triggerer", "scheduler", "machine"]


@dataclass(frozen=True)
class Scale:
    """How much work there is, and how often it is disrupted.

    :param exports: runs of the DAGs, each of another day.
    :param active: runs at a time.
    :param kills: how often each kind of process is killed: a ``task``, its ``supervisor``, the ``triggerer``, the
        ``scheduler`` alone, whose running tasks continue without it, and the ``machine`` of scheduler and tasks.
    :param pauses: shortest and longest number of seconds between two kills.
    :param timeout: seconds for everything after the start of Airflow.
    """

    exports: int
    active: int
    kills: Mapping[KillKind, int]
    pauses: tuple[float, float]
    timeout: float


SCALES = {
    "small": Scale(
        exports=6,
        active=5,
        kills={"task": 2, "supervisor": 1, "triggerer": 1, "machine": 1},
        pauses=(1.0, 4.0),
        timeout=240,
    ),
    "full": Scale(
        exports=60,
        active=6,
        kills={"task": 56, "supervisor": 24, "triggerer": 12, "scheduler": 4, "machine": 4},
        pauses=(1.0, 5.0),
        timeout=780,
    ),
}

#: How many of the requests of a kind are disrupted.
SHARES: dict[RequestKind, float] = {"create_export": 0.6, "list_jobs": 0.25, "get_job": 0.4}


def _answers(status: int, *, arrives: bool = False, **headers: str) -> Fault:
    return Fault("answer", arrives=arrives, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


#: Whatever the request is. ``delay`` is shorter than the client's timeouts once, and longer once.
_COMMON = (
    Fault("truncate"),
    Fault("drip"),
    Fault("delay", seconds=1.5),
    Fault("delay", seconds=15.0),
    Fault("gzip"),
    Fault("drop"),
    Fault("drop", arrives=True),
    _answers(500),
    _answers(502, arrives=True),
    _answers(503),
    _answers(503, arrives=True, Retry_After="1"),
    _answers(504, arrives=True),
    _answers(429, Retry_After="1"),
)

#: What is in front of Cordial can reject a request: a firewall, or a proxy without a route.
_REJECTIONS = (_answers(403), _answers(404))

#: So can a login page, a maintenance page, or a filter.
_PAGES = (
    _answers(302, Location="https://login.example.com/"),
    _answers(307, Location="https://maintenance.example.com/"),
    _answers(422),
)

#: A firewall can also reject the answer, after the request has reached Cordial.
_REJECTED_ANSWERS = (_answers(403, arrives=True), _answers(422, arrives=True))

FAULTS: dict[RequestKind, Sequence[Fault]] = {
    "create_export": (*_COMMON, *_REJECTIONS, *_PAGES, *_REJECTED_ANSWERS),
    "list_jobs": (*_COMMON, *_REJECTIONS, *_PAGES),
    "get_job": (*_COMMON, *_REJECTIONS, *_PAGES),
}


class FaultPlan:
    """Chooses the fault of each request.

    Each kind of request has a deck of all its faults and of undisrupted requests, which is shuffled whenever it is used
    up. So every fault occurs if there are enough requests, whatever the seed is.
    """

    def __init__(self, seed: int) -> None:
        self._decks = {kind: _deal(kind, random.Random(f"{seed} {kind}")) for kind in FAULTS}

    def choose(self, kind: RequestKind) -> Fault | None:
        """Return the fault of the next request of a kind."""
        return next(self._decks[kind]) if kind in self._decks else None


def _deal(kind: RequestKind, chance: random.Random) -> Iterator[Fault | None]:
    faults, pages = FAULTS[kind], list(_error_pages(kind))
    deck: list[Fault | None] = [*faults, *[None] * round(len(faults) / SHARES[kind] - len(faults))]
    while True:
        chance.shuffle(deck)
        for fault in deck:
            if fault is None or fault.effect != "answer":
                yield fault
            else:
                yield replace(fault, body=chance.choice([page for page in pages if _may_have(fault, page)]))


def _may_have(fault: Fault, page: bytes) -> bool:
    """Return whether an answer may have a body: a rejection in JSON would be Cordial's own, and final."""
    return fault.status >= 500 or fault.status == 429 or page.startswith(b"<")


def _error_pages(kind: RequestKind) -> Iterator[bytes]:
    """Yield error pages that repeat the secrets of the request, as those of debuggers, firewalls, and proxies do.

    Every request has the API key as its Basic user, and an export also has the password of its destination.
    """
    secrets = {"API key": API_KEY, **({"SFTP password": SFTP_PASSWORD} if kind == "create_export" else {})}
    for name, secret in secrets.items():
        for form, text in forms_of(secret).items():
            is_sent = form != "Basic auth" or name == "API key"
            if is_sent and form not in _NEVER_REPEATED:
                yield f"<html><body><h1>{ECHO}</h1>value={text}\n</body></html>".encode()
        # Across the place where a quoted page is cut off.
        yield f"<html><body><h1>{ECHO}</h1>{'x' * 230} {secret} {'x' * 100}</body></html>".encode()
        # An error of Cordial's own.
        yield json.dumps({"error": True, "message": f"{ECHO}: {secret}"}).encode()


def plan_kills(scale: Scale, seed: int) -> list[tuple[float, KillKind]]:
    """Return the kills in their order, each with the number of seconds to pause before it."""
    chance = random.Random(f"{seed} kills")
    kinds: list[KillKind] = [kind for kind, count in scale.kills.items() for _ in range(count)]
    chance.shuffle(kinds)
    return [(chance.uniform(*scale.pauses), kind) for kind in kinds]
