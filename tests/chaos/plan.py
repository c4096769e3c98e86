"""Plan: everything that happens in one run, drawn from the run's seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: Seconds within which a try is killed at any time.
LONGEST_TRY = 0.6

#: How many interpreters, each with its own hash seed, the tries of a run alternate between.
INTERPRETERS = 2

#: What happens between two tries. A clear raises the run's ``clear_number`` and, except where ``retries`` was edited so
#: that it stays the same, the task's ``max_tries``; the clear of a neighbor only the former, while this task waits for
#: its retry. Airflow does the same to a task that is cleared while it runs, and kills it.
Then = Literal["retry", "clear", "clear, retries edited", "neighbor cleared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One try, and what follows it.

    :param kill_at: one of ``tries.POINTS``.
    :param kill_nth: at which visit of that point.
    :param kill_after: seconds.
    :param fault: the label of a fault of the service.
    :param interpreter: which one runs the try.
    :param is_cleared_while_deferred: whether the task is cleared while it waits in the triggerer.
    :param then: what happens before the next try.
    """

    kill_at: str | None = None
    kill_nth: int = 1
    kill_after: float | None = None
    fault: str | None = None
    interpreter: int = 0
    is_cleared_while_deferred: bool = False
    then: Then = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run.

    :param steps: the disrupted tries of each task; several tasks are mapped siblings with other days.
    :param order: which task gets the next turn, as long as it has not ended.
    :param has_store: False below Airflow 3.3, which has no ``clear_number`` either.
    :param author_name: of the export; None for the default.
    :param is_exact: whether the author's name is used unchanged.
    :param has_set: whether the audiences are a set, in the order of the interpreter.
    :param has_renamed: whether Cordial refuses one of the audiences, and the author skips it.
    :param has_foreign_jobs: whether other runs have jobs with similar names.
    :param held_in: the status in which a job stays until the task waits for it; None if it ends soon.
    :param person: how a person names the job after a ``SubmissionUncertainError``; None if nobody does.
    """

    seed: str
    steps: tuple[tuple[Step, ...], ...] = ((),)
    order: tuple[int, ...] = (0,)
    has_store: bool = True
    author_name: str | None = None
    is_exact: bool = False
    has_set: bool = False
    has_renamed: bool = False
    has_foreign_jobs: bool = False
    held_in: str | None = None
    person: Literal["conf", "job_id"] | None = None

    @property
    def is_mapped(self) -> bool:
        return len(self.steps) > 1


def draw_plan(seed: str, points: Sequence[str], faults: Sequence[str], *, is_plain: bool = False) -> Plan:
    """Return the run of a seed.

    :param faults: the labels of the service's faults.
    :param is_plain: whether there are only tries and retries of one task, for a peer.
    """
    dice = random.Random(seed)

    def chance(share: float) -> bool:
        return dice.random() < share

    def step() -> Step:
        kind = dice.choice(("point", "time", "fault", "fault and point", "fault and time"))
        point = dice.choice(list(points))
        return Step(
            kill_at=point if "point" in kind else None,
            kill_nth=2 if chance(0.2) else 1,
            kill_after=dice.uniform(0.0, LONGEST_TRY) if "time" in kind else None,
            fault=dice.choice(list(faults)) if "fault" in kind or point == "POST on the wire" else None,
            interpreter=dice.randrange(INTERPRETERS),
            is_cleared_while_deferred=chance(0.12) and not is_plain,
            then="retry" if is_plain else dice.choices(_THEN, _WEIGHTS)[0],
        )

    tasks = dice.choice((2, 3)) if chance(0.2) and not is_plain else 1
    steps = tuple(tuple(step() for _ in range(dice.randint(1, 5))) for _ in range(tasks))
    if is_plain:
        return Plan(seed=seed, steps=steps)
    is_exact = chance(0.12)
    return Plan(
        seed=seed,
        steps=steps,
        order=tuple(dice.randrange(tasks) for _ in range(40)),
        has_store=chance(0.8),
        author_name="trends-2026-01" if is_exact or chance(0.5) else None,
        is_exact=is_exact,
        has_set=chance(0.4),
        has_renamed=chance(0.15),
        has_foreign_jobs=chance(0.5),
        held_in=dice.choice(("Scheduled", "Pending", "Processing")) if chance(0.4) else None,
        person=dice.choice(("conf", "job_id")) if chance(0.7) else None,
    )


_THEN: tuple[Then, ...] = ("retry", "clear", "clear, retries edited", "neighbor cleared")
_WEIGHTS = (0.6, 0.14, 0.1, 0.16)
