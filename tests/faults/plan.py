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
        exports=4,
        active=4,
        kills={"task": 2, "supervisor": 1, "triggerer": 1, "machine": 1},
        pauses=(1.0, 4.0),
        timeout=240,
    ),
    "full": Scale(
        exports=60,
        active=6,
        kills={"task": 56, "supervisor": 24, "triggerer": 12, "scheduler": 4, "machine": 4},
        pauses=(1.0, 5.0),
        timeout=840,
    ),
}

#: How many of the requests of a kind are disrupted.
SHARES: dict[RequestKind, float] = {"create_export": 0.6, "list_jobs": 0.25, "get_job": 0.4, "other": 0.0}


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

#: A GET can also be rejected by what is in front of Cordial: a login page, a firewall, a proxy without a route.
_REJECTIONS = (
    _answers(302, Location="https://login.example.com/"),
    _answers(307, Location="https://maintenance.example.com/"),
    _answers(403),
    _answers(404),
    _answers(422),
)

FAULTS: dict[RequestKind, Sequence[Fault]] = {
    "create_export": _COMMON,
    "list_jobs": (*_COMMON, *_REJECTIONS),
    "get_job": (*_COMMON, *_REJECTIONS),
}


class FaultPlan:
    """Chooses the fault of each request; each kind of request has a deck, which is shuffled whenever it is used up."""

    def __init__(self, seed: int) -> None:
        self._chances: dict[RequestKind, random.Random] = {}
        self._decks: dict[RequestKind, Iterator[Fault]] = {}
        for kind, faults in FAULTS.items():
            chance = random.Random(f"{seed} {kind}")
            self._chances[kind] = chance
            self._decks[kind] = _deal(faults, chance)

    def choose(self, kind: RequestKind) -> Fault | None:
        """Return the fault of the next request of a kind."""
        if kind not in self._decks or self._chances[kind].random() >= SHARES[kind]:
            return None
        return next(self._decks[kind])


def _deal(faults: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    pages = list(_error_pages())
    while True:
        for fault in chance.sample(faults, len(faults)):
            yield replace(fault, body=chance.choice(pages)) if fault.effect == "answer" else fault


def _error_pages() -> Iterator[bytes]:
    """Yield error pages that repeat the secrets of the request, as those of debuggers, firewalls, and proxies do."""
    for secret in (API_KEY, SFTP_PASSWORD):
        forms = forms_of(secret)
        # No server writes hexadecimal, and nobody recognizes half a secret.
        for name, form in forms.items():
            if name not in ("hexadecimal", "first half"):
                yield f"<html><body><h1>{ECHO}</h1>password={form}\n</body></html>".encode()
        # Across the place where a quoted page is cut off.
        yield f"<html><body><h1>{ECHO}</h1>{'x' * 230} {secret} {'x' * 100}</body></html>".encode()
        yield f"<pre>{ECHO}: {json.dumps({'request': json.dumps({'value': secret})})}</pre>".encode()


def plan_kills(scale: Scale, seed: int) -> list[tuple[float, KillKind]]:
    """Return the kills in their order, each with the number of seconds to pause before it."""
    chance = random.Random(f"{seed} kills")
    kinds: list[KillKind] = [kind for kind, count in scale.kills.items() for _ in range(count)]
    chance.shuffle(kinds)
    return [(chance.uniform(*scale.pauses), kind) for kind in kinds]
