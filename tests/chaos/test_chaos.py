"""A small fixed part of ``make chaos``: each kind of disruption once, and operators that the suite has to catch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.cordial import CordialService, open_cordial_lane
from tests.chaos.harness import Counts, Fault, Lane, chaos, run_seed
from tests.chaos.plan import Plan, Step, draw_plan
from tests.chaos.publishing import SUBJECT, FileCounts, kill_publishing
from tests.chaos.reconciling import measure_searches
from tests.chaos.tries import POINTS


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with open_cordial_lane(tmp_path_factory.mktemp("chaos")) as lane:
        yield lane


@pytest.fixture
def broken(lane: Lane) -> Iterator[Lane]:
    """The lane, for a test that sets another operator."""
    subject = lane.service.subject
    yield lane
    lane.service.subject = subject


def plan(*steps: Step, siblings: Sequence[Sequence[Step]] = (), **options: Any) -> Plan:
    tasks = (steps, *map(tuple, siblings))
    return replace(Plan(seed="test", steps=tasks, order=tuple(range(len(tasks)))), **options)


def fault(label: str) -> str:
    """Return the label of a fault that begins so."""
    return next(known for known in CordialService.faults if known.startswith(label))


#: The answer to the POST is lost, so that the list is searched.
LOST = fault("POST: reset after")
NOT_ARRIVED = fault("POST: reset without")


def assert_nothing_is_wrong(counts: Counts, *, jobs: int, kills: int = 0, uncertain: int = 0) -> None:
    assert counts.wrong == (0, 0, 0), counts.failures
    assert (counts.jobs, counts.kills, counts.uncertain) == (jobs, kills, uncertain), counts


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_point_results_in_one_job(lane: Lane, point: str) -> None:
    needed = {"while listing": LOST, "POST on the wire": fault("POST: delay 0.5")}
    step = Step(kill_at=point, fault=needed.get(point))
    counts = lane.run(plan(step, replace(step, interpreter=1), has_set=True))
    assert counts.kills >= 1
    assert_nothing_is_wrong(counts, jobs=1, kills=counts.kills)


#: Faults that the code cannot distinguish from one of the others; ``make chaos`` has them all.
LIKE_OTHERS = (
    *(f"POST: answer {status} after" for status in (502, 503, 504)),
    "POST: answer 503 without",
    "lost answer, list: reset",
    "lost answer, list: truncated",
    "lost answer, list: HTML 200",
)


@pytest.mark.parametrize(
    "label",
    [
        label
        for label in CordialService.faults
        # Alone, a fault of the list needs a try that searches it.
        if not label.startswith(("list: ", *LIKE_OTHERS))
    ],
)
def test_a_fault_results_in_one_job_or_an_uncertain_error(lane: Lane, label: str) -> None:
    counts = lane.run(plan(Step(fault=label)))
    is_unclear = any(what in label for what in ("without names", "without ids", "cut off", "a page inserted"))
    assert_nothing_is_wrong(counts, jobs=2 if label == "the job fails" else 1, uncertain=int(is_unclear))


KILLED = Step(kill_at="after the record")


@pytest.mark.parametrize(
    ("steps", "options", "jobs"),
    [
        pytest.param([Step(then="clear")], {}, 2, id="clear of a finished task"),
        pytest.param([Step(then="clear, retries edited")], {}, 2, id="clear with retries edited"),
        pytest.param([replace(KILLED, then="clear")], {"held_in": "Pending"}, 1, id="clear while waiting, job live"),
        pytest.param([Step(is_cleared_while_deferred=True)], {"held_in": "Pending"}, 1, id="clear while deferred"),
        pytest.param([replace(KILLED, then="neighbor cleared")], {}, 1, id="clear of a neighbor"),
        pytest.param(
            [Step(kill_at="before the end", then="neighbor cleared")],
            {},
            1,
            id="clear of a neighbor, killed at the end",
        ),
        pytest.param([Step(then="clear")], {"has_store": False}, 2, id="clear below 3.3"),
        pytest.param([Step(kill_at="after the XCom")] * 2, {"has_store": False}, 1, id="retry below 3.3"),
    ],
)
def test_a_clear_exports_again_and_a_retry_does_not(
    lane: Lane, steps: list[Step], options: dict[str, Any], jobs: int
) -> None:
    counts = lane.run(plan(*steps, **options))
    assert_nothing_is_wrong(counts, jobs=jobs, kills=sum(step.kill_at is not None for step in steps))


def test_mapped_siblings_and_foreign_jobs_of_similar_names_are_not_adopted(lane: Lane) -> None:
    siblings = [[Step(fault=LOST, interpreter=1)], [Step(kill_at="after the answer")]]
    counts = lane.run(plan(KILLED, siblings=siblings, author_name="trends-2026-01", has_foreign_jobs=True))
    assert_nothing_is_wrong(counts, jobs=3, kills=2)


def test_another_hash_seed_is_the_same_submission(lane: Lane) -> None:
    counts = lane.run(plan(Step(kill_at="after the answer"), Step(interpreter=1), has_set=True))
    assert_nothing_is_wrong(counts, jobs=1, kills=1)


def test_a_kill_after_an_answer_that_followed_a_rate_limit(lane: Lane) -> None:
    label = "POST: 429 with Retry-After, then a job that is listed late"
    late = Step(fault=fault("a job is listed late"))
    counts = lane.run(plan(Step(kill_at="after the answer", kill_nth=2, fault=label), late))
    assert_nothing_is_wrong(counts, jobs=1, kills=1)


@pytest.mark.parametrize("person", ["conf", "job_id"])
@pytest.mark.parametrize("siblings", [(), ([],)], ids=["one task", "mapped"])
def test_a_job_that_a_person_names_is_resumed(lane: Lane, person: str, siblings: Sequence[Sequence[Step]]) -> None:
    counts = lane.run(plan(Step(fault="lost answer, list: without names"), siblings=siblings, person=person))
    assert_nothing_is_wrong(counts, jobs=1 + len(siblings), uncertain=1)
    assert [reason[:40] for reason in counts.reasons] == ["the list contains jobs without a name (N"]


def test_a_job_that_a_person_names_is_resumed_although_a_firewall_answers_once(lane: Lane) -> None:
    steps = [Step(fault="lost answer, list: without names"), Step(fault="job: HTML 403")]
    counts = lane.run(plan(*steps, person="conf"))
    assert_nothing_is_wrong(counts, jobs=1, uncertain=1)


def test_an_exact_name_is_never_adopted(lane: Lane) -> None:
    options: dict[str, Any] = {"author_name": "trends", "is_exact": True, "has_foreign_jobs": True}
    counts = lane.run(plan(Step(fault=NOT_ARRIVED), **options))
    assert_nothing_is_wrong(counts, jobs=0, uncertain=1)
    assert list(counts.reasons) == ["job <id> has its name, but so do the exports of other runs"]


@pytest.mark.parametrize("has_store", [True, False])
def test_a_renamed_audience_is_skipped_in_one_job(lane: Lane, has_store: bool) -> None:
    counts = lane.run(plan(Step(kill_at="after the answer", kill_nth=2), has_renamed=True, has_store=has_store))
    assert_nothing_is_wrong(counts, jobs=1, kills=1)


def test_combined_disruptions(lane: Lane) -> None:
    counts = chaos([lane], 5, 4711)
    assert counts.wrong == (0, 0, 0), counts.failures
    assert counts.kills >= 5


def test_a_run_is_repeated_from_its_seed(lane: Lane) -> None:
    service = lane.service
    first, second = (draw_plan("1-7", service.points, list(service.faults)) for _ in range(2))
    assert first == second
    assert first != draw_plan("1-8", service.points, list(service.faults))
    assert run_seed(lane, "1-7").runs == 1


def test_killed_publishing_leaves_each_file_whole(lane: Lane, tmp_path: Path) -> None:
    counts = kill_publishing(lane.interpreters[0], 1, 1, tmp_path, in_the_middle=True)
    assert (counts.torn, counts.wrong) == (0, 0), counts.failures
    assert counts.kills >= 1


def test_a_search_among_many_jobs_is_bounded(lane: Lane, tmp_path: Path) -> None:
    found = {
        (search.order, search.has_arrived): search
        for search in measure_searches(lane.interpreters[0], tmp_path, jobs=1000)
    }
    assert len(found) == 4
    assert all(search.jobs == 1 for search in found.values())
    assert max(found["newest", arrived].requests for arrived in (True, False)) <= 3
    assert max(found["oldest", arrived].requests for arrived in (True, False)) <= 12


# The suite can fail: each of these operators is wrong in one way.


@pytest.mark.parametrize(
    ("name", "steps", "options", "wrong"),
    [
        pytest.param("Forgetful", [Step(kill_at="after the answer"), Step(fault=LOST)], {}, (2, 0, 0), id="forgetful"),
        pytest.param("ByPrefix", [], {"has_foreign_jobs": True}, (0, 1, 1), id="adopts by prefix"),
        pytest.param("IgnoresClears", [Step(then="clear")], {}, (0, 0, 1), id="ignores clears"),
        pytest.param(
            "ForgetsOnClear",
            [replace(KILLED, then="clear")],
            {"held_in": "Pending"},
            (1, 0, 0),
            id="leaves a live job after a clear",
        ),
        pytest.param(
            "HashOrdered",
            [Step(kill_at="after the answer"), Step(interpreter=1)],
            {"has_set": True},
            (1, 0, 0),
            id="identifies by hash order",
        ),
    ],
)
def test_the_suite_detects_a_broken_operator(
    broken: Lane, name: str, steps: list[Step], options: dict[str, Any], wrong: tuple[int, int, int]
) -> None:
    broken.service.subject = f"tests.chaos.broken:{name}"
    counts = broken.run(plan(*steps, **options))
    assert counts.wrong == wrong, counts.failures
    assert len(counts.failures) == (1 if any(wrong) else 0)


def test_the_suite_detects_a_second_post_before_a_job_is_listed(broken: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = Fault(label="hidden", behaviour={"visible_after": 30})
    monkeypatch.setattr(CordialService, "faults", {"hidden": hidden})
    broken.service.subject = "tests.chaos.broken:Impatient"
    counts = broken.run(plan(*[Step(kill_at="after the answer", fault="hidden")] * 2))
    assert counts.wrong == (1, 0, 0), counts.failures


def test_the_suite_detects_the_adoption_of_a_siblings_job(broken: Lane) -> None:
    broken.service.subject = "tests.chaos.broken:IgnoresSiblings"
    siblings = [[Step(kill_at="before the POST")]]
    counts = broken.run(plan(siblings=siblings, has_store=False))
    assert counts.adoptions >= 1
    assert counts.failures


def test_the_suite_detects_torn_files(lane: Lane, tmp_path: Path) -> None:
    subject = SUBJECT.replace("FileTask", "Truncating")
    counts: FileCounts = kill_publishing(lane.interpreters[0], 1, 1, tmp_path, subject=subject, in_the_middle=True)
    assert counts.torn >= 1
    assert counts.failures
